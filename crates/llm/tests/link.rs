//! A link delays, paces and counts bytes, and changes nothing else. Times are checked from
//! below alone: a busy machine is late, never early.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tokenroute_llm::link::{Link, LinkConfig};

/// A server that echoes all bytes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a stream");
            thread::spawn(move || {
                let mut out = stream.try_clone().expect("a clone");
                std::io::copy(&mut stream, &mut out).expect("an echo");
                out.shutdown(Shutdown::Write).expect("an end");
            });
        }
    });
    address
}

fn link(round_trip: u64, bits_per_second: Option<f64>) -> Link {
    let round_trip = Duration::from_millis(round_trip);
    Link::start(echo(), LinkConfig { round_trip, bits_per_second }).expect("a link")
}

/// Sends bytes and reads them back.
fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut sender = stream.try_clone().expect("a clone");
    let sent = bytes.to_vec();
    let sending = thread::spawn(move || sender.write_all(&sent).expect("a write"));
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("an echo");
    sending.join().expect("no panic");
    assert_eq!(back, bytes);
    begun.elapsed()
}

fn connect(link: &Link) -> TcpStream {
    let stream = TcpStream::connect(link.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream
}

#[test]
fn a_round_trip_is_waited_for_once_and_twice_on_a_new_connection() {
    let link = link(40, None);
    let mut stream = connect(&link);
    assert!(exchange(&mut stream, b"first") >= Duration::from_millis(80), "set-up and answer");
    assert!(exchange(&mut stream, b"second") >= Duration::from_millis(40));
    let carried = link.carried();
    assert_eq!((carried.up, carried.down, carried.connections), (11, 11, 1));
}

#[test]
fn bytes_under_way_do_not_wait_for_each_other() {
    let link = link(100, None);
    let mut stream = connect(&link);
    let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
    exchange(&mut stream, b"open");
    // 137 packets: one after the other they would take 13.7 s.
    let took = exchange(&mut stream, &bytes);
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(7), "{took:?}");
}

#[test]
fn the_bandwidth_is_shared_by_all_connections() {
    // 20,000 bytes at 800 kbit/s are 200 ms, in each direction at once.
    let link = link(0, Some(800_000.0));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| exchange(&mut connect(&link), &[7; 10_000]));
        }
    });
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!((link.carried().up, link.carried().down), (20_000, 20_000));
}

#[test]
fn ends_travel_and_a_dropped_link_breaks_its_connections() {
    let link = link(10, None);
    let mut stream = connect(&link);
    stream.write_all(b"last words").expect("a write");
    stream.shutdown(Shutdown::Write).expect("an end");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("all of it and its end");
    assert_eq!(said, "last words");
    let mut open = connect(&link);
    exchange(&mut open, b"here");
    drop(link);
    assert_eq!(open.read(&mut [0; 8]).unwrap_or(0), 0, "nobody is there");
}
