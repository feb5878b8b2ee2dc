//! The committed header is the one that cbindgen makes of the sources, and compilers take it.

use std::path::Path;
use std::process::Command;

#[test]
fn the_header_is_that_of_the_sources() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(home.join("cbindgen.toml")).expect("a configuration");
    let sources = ["src/types.rs", "src/api.rs"].map(|file| home.join(file));
    let builder = sources.iter().fold(cbindgen::Builder::new(), cbindgen::Builder::with_src);
    let mut header = Vec::new();
    builder.with_config(config).generate().expect("a header").write(&mut header);
    let header = String::from_utf8(header).expect("UTF-8");
    let path = home.join("include/tokenroute.h");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &header).expect("a file");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, header, "UPDATE_DOCS=1 cargo test -p tokenroute-ffi --test header");
    for (compiler, language) in [("cc", "c"), ("c++", "c++")] {
        let run = Command::new(compiler)
            .args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", language])
            .arg(&path)
            .output();
        match run {
            Err(error) => println!("skipped: no {compiler}: {error}"),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{compiler}: {said}");
            }
        }
    }
}
