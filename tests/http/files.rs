//! Files of a folder: types, validators, ranges, compressed siblings, and no way out.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use sockeye::{App, Files, Limits, Server};

use crate::bed::{on_each_backend, talk};

/// A folder of files that is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sockeye-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let public = path.join("public");
        fs::create_dir_all(public.join("sub/empty")).unwrap();
        fs::write(path.join("secret.txt"), "secret").unwrap();
        fs::write(public.join("index.html"), "<p>index</p>").unwrap();
        fs::write(public.join("sub/index.html"), "<p>sub</p>").unwrap();
        fs::write(public.join("a.txt"), "0123456789").unwrap();
        fs::write(public.join("b c.css"), "css").unwrap();
        fs::write(public.join("app.js"), "plain").unwrap();
        fs::write(public.join("app.js.br"), "brotli").unwrap();
        fs::write(public.join("app.js.gz"), "gzip").unwrap();
        fs::write(public.join(".hidden"), "hidden").unwrap();
        fs::write(public.join("empty"), "").unwrap();
        fs::write(public.join("big"), vec![b'x'; 3 << 20]).unwrap();
        symlink("../secret.txt", public.join("out.txt")).unwrap();
        symlink("/etc", public.join("etc")).unwrap();
        symlink("a.txt", public.join("in.txt")).unwrap();
        Self(path)
    }

    fn public(&self) -> PathBuf {
        self.0.join("public")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n")
}

fn field<'t>(response: &'t str, name: &str) -> Option<&'t str> {
    let prefix = format!("{name}: ");
    response.lines().find_map(|line| line.strip_prefix(&*prefix))
}

#[test]
fn paths_lead_to_files_and_nowhere_else() {
    let folder = Folder::new("paths");
    let public = folder.public();
    let app = move || App::new().files("/f/*", Files::new(&public));
    let cases = [
        ("/f/a.txt", 200, "0123456789"),
        ("/f/b%20c.css", 200, "css"),
        ("/f/%61.txt", 200, "0123456789"),
        ("/f/in.txt", 200, "0123456789"),
        ("/f/empty", 200, ""),
        ("/f/", 200, "<p>index</p>"),
        ("/f/sub/", 200, "<p>sub</p>"),
        ("/f/sub", 301, "301 Moved Permanently"),
        ("/f/sub?x=y", 301, "301 Moved Permanently"),
        ("/f/sub/empty/", 404, "404 Not Found"),
        ("/f/none", 404, "404 Not Found"),
        ("/f/a.txt/", 404, "404 Not Found"),
        ("/f/a.txt/b", 404, "404 Not Found"),
        ("/f//a.txt", 404, "404 Not Found"),
        ("/f/.hidden", 404, "404 Not Found"),
        ("/f/./a.txt", 404, "404 Not Found"),
        ("/f/../a.txt", 404, "404 Not Found"),
        ("/f/../secret.txt", 404, "404 Not Found"),
        ("/f/sub/../../secret.txt", 404, "404 Not Found"),
        ("/f/%2e%2e/secret.txt", 404, "404 Not Found"),
        ("/f/..%2fsecret.txt", 404, "404 Not Found"),
        ("/f/sub%2f..%2f..%2fsecret.txt", 404, "404 Not Found"),
        ("/f/%2e%2e%2fsecret.txt", 404, "404 Not Found"),
        ("/f/..%5csecret.txt", 404, "404 Not Found"),
        ("/f/%252e%252e/secret.txt", 404, "404 Not Found"),
        ("/f//etc/passwd", 404, "404 Not Found"),
        ("/f/%2fetc/passwd", 404, "404 Not Found"),
        ("/f/a.txt%00", 404, "404 Not Found"),
        ("/f/a.txt%00.html", 404, "404 Not Found"),
        ("/f/%ff", 404, "404 Not Found"),
        ("/f/%zz", 404, "404 Not Found"),
        ("/f/out.txt", 404, "404 Not Found"),
        ("/f/etc/passwd", 404, "404 Not Found"),
        ("/f/etc", 404, "404 Not Found"),
    ];
    on_each_backend(&Limits::default(), app, |address, _| {
        for (path, status, body) in cases {
            let response = talk(address, get(path, "").as_bytes());
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {response}");
            assert_eq!(response.split_once("\r\n\r\n").unwrap().1, body, "{path}");
            assert!(!response.contains("secret"), "{path}");
        }
        let moved = talk(address, get("/f/sub?x=y", "").as_bytes());
        assert_eq!(field(&moved, "Location"), Some("/f/sub/?x=y"));
        let post = talk(address, b"POST /f/a.txt HTTP/1.0\r\n\r\n");
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        assert_eq!(field(&post, "Allow"), Some("GET, HEAD"));
    });
}

#[test]
fn validators_and_ranges() {
    let folder = Folder::new("validators");
    let public = folder.public();
    let app = move || App::new().files("/*", Files::new(&public).cache_control("max-age=60"));
    on_each_backend(&Limits::default(), app, |address, _| {
        let ask = |path: &str, fields: &str| talk(address, get(path, fields).as_bytes());
        let whole = ask("/a.txt", "");
        assert_eq!(field(&whole, "Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(field(&whole, "Content-Length"), Some("10"));
        assert_eq!(field(&whole, "Cache-Control"), Some("max-age=60"));
        assert_eq!(field(&whole, "Accept-Ranges"), Some("bytes"));
        let tag = field(&whole, "ETag").unwrap().to_owned();
        let date = field(&whole, "Last-Modified").unwrap().to_owned();
        let cases = [
            (format!("If-None-Match: {tag}\r\n"), 304, ""),
            (format!("If-None-Match: W/{tag}\r\n"), 304, ""),
            (format!("If-None-Match: \"x\", {tag}\r\n"), 304, ""),
            ("If-None-Match: *\r\n".into(), 304, ""),
            ("If-None-Match: \"x\"\r\n".into(), 200, "0123456789"),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200, "0123456789"),
            (format!("If-Modified-Since: {date}\r\n"), 304, ""),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(), 200, "0123456789"),
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n".into(), 200, "0123456789"),
            ("If-Modified-Since: yesterday\r\n".into(), 200, "0123456789"),
            (format!("If-Match: {tag}\r\n"), 200, "0123456789"),
            ("If-Match: *\r\n".into(), 200, "0123456789"),
            ("If-Match: \"x\"\r\n".into(), 412, "412 Precondition Failed"),
            (format!("If-Match: W/{tag}\r\n"), 412, "412 Precondition Failed"),
            (format!("If-Unmodified-Since: {date}\r\n"), 200, "0123456789"),
            (
                "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".into(),
                412,
                "412 Precondition Failed",
            ),
            ("Range: bytes=2-4\r\n".into(), 206, "234"),
            ("Range: bytes=8-\r\n".into(), 206, "89"),
            ("Range: bytes=-3\r\n".into(), 206, "789"),
            ("Range: bytes=8-99\r\n".into(), 206, "89"),
            ("Range: bytes=0-0,2-2\r\n".into(), 200, "0123456789"),
            ("Range: bytes=10-\r\n".into(), 416, "416 Range Not Satisfiable"),
            (format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n"), 206, "234"),
            (format!("Range: bytes=2-4\r\nIf-Range: {date}\r\n"), 206, "234"),
            ("Range: bytes=2-4\r\nIf-Range: \"x\"\r\n".into(), 200, "0123456789"),
            (format!("Range: bytes=2-4\r\nIf-Range: W/{tag}\r\n"), 200, "0123456789"),
            (format!("Range: bytes=2-4\r\nIf-None-Match: {tag}\r\n"), 304, ""),
        ];
        for (fields, status, body) in cases {
            let response = ask("/a.txt", &fields);
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {response}");
            assert_eq!(response.split_once("\r\n\r\n").unwrap().1, body, "{fields}");
            let range = field(&response, "Content-Range").map(str::to_owned);
            assert_eq!(range.is_some(), matches!(status, 206 | 416), "{fields}");
        }
        let part = ask("/a.txt", "Range: bytes=2-4\r\n");
        assert_eq!(field(&part, "Content-Range"), Some("bytes 2-4/10"));
        assert_eq!(
            field(&ask("/a.txt", "Range: bytes=10-\r\n"), "Content-Range"),
            Some("bytes */10")
        );
        let head = get("/a.txt", "Range: bytes=2-4\r\n").replacen("GET", "HEAD", 1);
        let head = talk(address, head.as_bytes());
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(field(&head, "Content-Length"), Some("10"));
        let big = ask("/big", "");
        assert_eq!(big.split_once("\r\n\r\n").unwrap().1.len(), 3 << 20);
        let part = ask("/big", "Range: bytes=1000000-2999999\r\n");
        assert_eq!(part.split_once("\r\n\r\n").unwrap().1.len(), 2_000_000);
    });
}

#[test]
fn compressed_siblings_go_to_those_who_take_them() {
    let folder = Folder::new("siblings");
    let public = folder.public();
    let app = move || {
        let files = Files::new(&public).precompressed(true).hidden(true).content_type("js", "x/y");
        App::new().files("/*", files)
    };
    let cases = [
        ("gzip, deflate, br", "brotli", Some("br")),
        ("gzip", "gzip", Some("gzip")),
        ("gzip;q=0.5", "gzip", Some("gzip")),
        ("br;q=0, gzip; q=1", "gzip", Some("gzip")),
        ("br;q=0", "plain", None),
        ("identity", "plain", None),
    ];
    on_each_backend(&Limits::default(), app, |address, _| {
        for (accepted, body, coding) in cases {
            let fields = format!("Accept-Encoding: {accepted}\r\n");
            let response = talk(address, get("/app.js", &fields).as_bytes());
            assert_eq!(response.split_once("\r\n\r\n").unwrap().1, body, "{accepted}");
            assert_eq!(field(&response, "Content-Encoding"), coding, "{accepted}");
            assert_eq!(field(&response, "Content-Type"), Some("x/y"));
            assert_eq!(field(&response, "Vary"), Some("Accept-Encoding"));
        }
        assert!(talk(address, get("/.hidden", "").as_bytes()).ends_with("hidden"));
    });
}

#[test]
fn a_server_without_its_folder_does_not_start() {
    for path in ["/nowhere/at/all", "/etc/passwd"] {
        let app = move || App::new().files("/*", Files::new(Path::new(path)));
        let error = Server::new(app).listen("127.0.0.1:0").workers(1).start().unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}
