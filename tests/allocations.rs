//! What is promised to cost no allocation: to read the head of a request that has come whole, and
//! to find its route.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::measure;
use sockeye::http::{Decoder, Event, HeaderSlots, Limits, NoMatch, Router, query};

/// How often memory is taken while this is done.
fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

fn router() -> Router<u32> {
    let mut router = Router::default();
    router.add("GET", "/", 0).unwrap();
    router.add("GET", "/users/:id", 1).unwrap();
    router.add("PUT", "/users/:id/:part", 2).unwrap();
    router.any("/users/me", 3).unwrap();
    router.any("/files/*", 4).unwrap();
    router.add("GET", "/:a/:b/:c/:d", 5).unwrap();
    router
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(Box::new([0_u8; 100]))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn matching_costs_none() {
    let router = router();
    let cases = [
        ("GET", "/", Some(0)),
        ("HEAD", "/users/7", Some(1)),
        ("PUT", "/users/7/name", Some(2)),
        ("BREW", "/users/me", Some(3)),
        ("GET", "/files/a/b/c", Some(4)),
        ("GET", "/a/b/c/d", Some(5)),
        // The literal leads nowhere, and is gone back from.
        ("GET", "/users/me/c/d", Some(5)),
        ("GET", "/none/such", None),
        ("GET", "//", None),
    ];
    for (method, path, value) in cases {
        let mut found = None;
        let count = allocations(|| {
            let result = router.find(method, path);
            if let Ok(one) = &result {
                std::hint::black_box((one.parameters.first("id"), one.parameters.at(0)));
            }
            found = result.map(|one| *one.value).ok();
        });
        assert_eq!((found, count), (value, 0), "{method} {path}");
    }
    // The next one that fits, for pages that pass a request on.
    let count = allocations(|| {
        assert_eq!(router.find_after("GET", "/users/me", 0).map(|one| *one.value), Ok(3));
        assert_eq!(router.find_after("GET", "/users/me", 1).map(|one| *one.value), Ok(1));
        assert_eq!(router.find_after("GET", "/users/me", 2).err(), Some(NoMatch::NotFound));
    });
    assert_eq!(count, 0);
}

#[test]
fn a_head_that_comes_whole_costs_none() {
    let bytes = *b"GET /users/7?name=ada&x=1 HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\
        Connection: keep-alive\r\nCookie: a=b\r\n\r\nPOST /c HTTP/1.1\r\nHost: h\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let limits = Limits::default();
    let (mut decoder, mut slots) = (Decoder::default(), HeaderSlots::new());
    let mut read = |mut bytes: [u8; 177]| {
        let (mut done, mut heads) = (0, 0);
        while done < bytes.len() {
            let step = decoder.next(&mut bytes[done..], &mut slots, &limits).unwrap();
            done += step.consumed;
            if let Some(Event::Request(head)) = step.event {
                heads += 1;
                let is_first = head.path() == "/users/7";
                assert_eq!(head.fields().single("cookie").unwrap().is_some(), is_first);
            }
        }
        assert_eq!(heads, 2);
    };
    // The room for places of fields is a worker's, and used again.
    read(bytes);
    assert_eq!(allocations(|| read(bytes)), 0);
    // Nor does a value of the query that needs no decoding.
    let count = allocations(|| assert_eq!(query("name=ada&x=1", "name").unwrap(), "ada"));
    assert_eq!(count, 0);
}
