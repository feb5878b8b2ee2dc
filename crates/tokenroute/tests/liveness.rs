//! The system refuses a thread, at every place where one is started. Within seconds a server
//! answers, says at `/health` that it cannot, or ends with an error; a command ends. A library
//! that is loaded before the system's takes the place of `pthread_create`.
#![cfg(all(feature = "server", target_os = "linux"))]
#![allow(clippy::print_stdout, reason = "a note where there is no compiler")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use support::{Server, copy, model, tokenroute, write_router};
use tempfile::TempDir;

/// Time that a process has to answer, to refuse or to end.
const SOON: Duration = Duration::from_secs(5);

/// Time that a process has to load its models, on a busy machine.
const LOADED: Duration = Duration::from_secs(60);

/// More threads than any of these processes starts.
const MOST: usize = 64;

/// Refuses the thread with this number, and those after it if the number is negative.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
typedef int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
static atomic_int count;
int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *x) {
    const char *refused = getenv("REFUSED_THREAD");
    int number = atomic_fetch_add(&count, 1), at = refused ? atoi(refused) : MOST;
    if (at < 0 ? number >= -at - 1 : number == at) {
        const char *path = getenv("REFUSED_MARK");
        FILE *mark = path ? fopen(path, "w") : NULL;
        if (mark) fclose(mark);
        return EAGAIN;
    }
    create next = (create)dlsym(RTLD_NEXT, "pthread_create");
    return next(t, a, f, x);
}
"#;

/// The library, or nothing if there is no C compiler.
fn library(folder: &Path) -> Option<PathBuf> {
    let (source, built) = (folder.join("refuse.c"), folder.join("refuse.so"));
    std::fs::write(&source, LIBRARY.replace("MOST", &MOST.to_string())).expect("a file");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-o"])
        .args([&built, &source])
        .arg("-ldl")
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "the library is not built");
            Some(built)
        }
        Err(error) => {
            println!("skipped: no C compiler: {error}");
            None
        }
    }
}

/// The program, with threads refused. `mark` exists once one was.
fn refusing(arguments: &[&str], library: &Path, at: i32, mark: &Path) -> Command {
    let mut command = tokenroute(arguments);
    drop(std::fs::remove_file(mark));
    command.env("LD_PRELOAD", library).env("REFUSED_THREAD", at.to_string());
    command.env("REFUSED_MARK", mark);
    command.env_remove("TOKENROUTE_SERVE_KEY").env_remove("TOKENROUTE_CLOUD_KEY");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends a child at the end of a test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Ends {
    /// Whether it has ended with an error within this time.
    fn fails_within(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return !status.success();
            }
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut errors) = self.0.stderr.take() {
            drop(errors.read_to_string(&mut text));
        }
        text
    }
}

/// The status of a request, if a reply comes soon.
fn status(address: &str, request: &str) -> Option<u16> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(SOON)).ok()?;
    socket.write_all(request.as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

/// Starts a server with a thread refused. It must answer, or refuse at `/health`, or end with
/// an error. Returns whether a thread was refused at all.
fn serves_or_ends(arguments: &[&str], library: &Path, at: i32, mark: &Path) -> bool {
    let child = refusing(arguments, library, at, mark).spawn().expect("a process");
    let mut child = Ends(child);
    let out = child.0.stdout.take().expect("its output");
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        drop(BufReader::new(out).read_line(&mut line));
        drop(send.send(line));
    });
    let line = receive.recv_timeout(LOADED).unwrap_or_else(|_| {
        panic!("with thread {at} refused, {arguments:?} neither listens nor ends")
    });
    let Some((_, url)) = line.trim().split_once(" at http://") else {
        assert!(child.fails_within(SOON), "with thread {at} refused it goes on without listening");
        let errors = child.errors();
        // tokio panics if it gets none of its threads.
        assert!(errors.contains("error:") || errors.contains("spawn"), "{at}: {errors}");
        return true;
    };
    let body = r#"{"prompt": [1, 2, 3], "max_tokens": 3}"#;
    let length = body.len();
    let close = "host: localhost\r\nconnection: close";
    let post = format!(
        "POST /v1/completions HTTP/1.1\r\n{close}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let health = format!("GET /health HTTP/1.1\r\n{close}\r\n\r\n");
    for _ in 0..3 {
        let answers = status(url, &post) == Some(200);
        let healthy = status(url, &health) == Some(200);
        let ended = child.0.try_wait().expect("a child").is_some();
        if !answers && healthy && !ended {
            panic!("with thread {at} refused, {arguments:?} gives no answer and is healthy");
        }
    }
    // The mark of a thread that was refused while it answered.
    mark.exists()
}

/// The options of a pair whose router is in this folder. It speculates, which takes threads.
fn pair(folder: &Path) -> Vec<String> {
    let router = folder.join("router.safetensors");
    write_router(&router);
    let (slm, llm) = (model("word-problems-slm"), model("word-problems-llm"));
    let router = router.display().to_string();
    let options =
        ["--slm", &slm, "--llm", &llm, "--router", &router, "--tau", "0.5", "--speculate"];
    options.map(str::to_owned).to_vec()
}

#[test]
fn a_server_without_one_of_its_threads_answers_or_says_so() {
    let folder = TempDir::new().expect("a folder");
    let Some(library) = library(folder.path()) else { return };
    let path = |name: &str| folder.path().join(name);
    let pair = pair(folder.path());
    let pair: Vec<&str> = pair.iter().map(String::as_str).collect();
    let slm = model("word-problems-slm");
    let cloud = ["cloud", "--model", &slm, "--bind", "127.0.0.1:0"];
    let serve = [&["serve", "--bind", "127.0.0.1:0"], &pair[..]].concat();
    for arguments in [&cloud[..], &serve[..]] {
        let mut refused = 0;
        for number in 0..MOST as i32 {
            let mark = path(&format!("mark-{number}"));
            let one = serves_or_ends(arguments, &library, number, &mark);
            if !one {
                break;
            }
            serves_or_ends(arguments, &library, -number - 1, &mark);
            refused += 1;
        }
        // The threads of the pool, of the server, and of the model, at least.
        assert!(refused >= 4, "{refused} threads of {arguments:?} were refused");
    }
}

/// Weights that are cut short in place under a server: what was cut off cannot be read any more.
#[test]
fn a_server_whose_weights_are_cut_short_says_so() {
    let folder = TempDir::new().expect("a folder");
    copy(model("word-problems-slm").as_ref(), folder.path());
    let slm = folder.path().display().to_string();
    let mut command = tokenroute(&["serve", "--bind", "127.0.0.1:0", "--slm", &slm]);
    command.env_remove("TOKENROUTE_SERVE_KEY");
    let mut server = Server::start(command);
    let url = server.url.trim_start_matches("http://").to_owned();
    let post = |first: u32| {
        let body = format!(r#"{{"prompt": [{first}, 2, 3], "max_tokens": 3}}"#);
        let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close";
        status(&url, &format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    };
    assert_eq!(post(1), Some(200));
    // A file that was renamed over it changes nothing.
    let weights = folder.path().join("model.safetensors");
    std::fs::rename(&weights, folder.path().join("moved")).expect("a rename");
    std::fs::write(&weights, "short").expect("a file");
    assert_eq!(post(4), Some(200));
    let moved = std::fs::File::options().write(true).open(folder.path().join("moved"));
    moved.and_then(|file| file.set_len(0)).expect("a file without bytes");
    assert_eq!(post(7), None);
    let ended = server.child.wait().expect("an end");
    let mut errors = String::new();
    server.child.stderr.take().expect("its errors").read_to_string(&mut errors).expect("UTF-8");
    assert_eq!(ended.code(), Some(1), "{errors}");
    assert!(errors.contains("became shorter") && errors.contains("renaming"), "{errors}");
}

#[test]
fn a_command_without_one_of_its_threads_ends() {
    let folder = TempDir::new().expect("a folder");
    let Some(library) = library(folder.path()) else { return };
    let path = |name: &str| folder.path().join(name);
    let pair = pair(folder.path());
    let pair: Vec<&str> = pair.iter().map(String::as_str).collect();
    let text = ["--text", "Mia has 3 apples.", "--max-tokens", "8"];
    let arguments = [&["generate"], &pair[..], &text].concat();
    let mark = path("mark");
    let sound = tokenroute(&arguments).output().expect("a process");
    assert!(sound.status.success());
    for number in 0..MOST as i32 {
        for at in [number, -number - 1] {
            let mut child =
                Ends(refusing(&arguments, &library, at, &mark).spawn().expect("a process"));
            let failed = child.fails_within(LOADED);
            let ended = child.0.try_wait().expect("a child").is_some();
            assert!(ended, "with thread {at} refused it does not end");
            let errors = child.errors();
            assert!(!errors.contains("panicked"), "thread {at}: {errors}");
            if !failed {
                let mut text = String::new();
                let mut out = child.0.stdout.take().expect("its output");
                out.read_to_string(&mut text).expect("UTF-8");
                assert_eq!(text.as_bytes(), sound.stdout, "thread {at}");
            }
        }
        if !mark.exists() {
            assert!(number >= 2, "{number} threads were refused");
            return;
        }
    }
}
