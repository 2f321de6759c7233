//! Tests of the router: its rules one by one, and against a model that tries every route.

use proptest::prelude::*;

use super::*;

fn router(routes: &[(&str, &'static str)]) -> Router<&'static str> {
    let mut router = Router::default();
    for (method, pattern) in routes {
        let added = match *method {
            "any" => router.any(pattern, *pattern),
            method => router.add(method, pattern, *pattern),
        };
        added.expect("a good route");
    }
    router
}

fn found(router: &Router<&'static str>, path: &str) -> String {
    match router.find("GET", path) {
        Ok(found) => {
            let parameters =
                found.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("{}{}", found.value, parameters.collect::<String>())
        }
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn literal_before_parameter_before_rest_and_back() {
    let router = router(&[
        ("GET", "/"),
        ("GET", "/a"),
        ("GET", "/a/"),
        ("GET", "/a/:x"),
        ("GET", "/a/b/c"),
        ("GET", "/:x/:y/d"),
        ("GET", "/a/*"),
        ("GET", "/x/:p/*"),
        ("GET", "/l/1/e"),
    ]);
    let cases = [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/b", "/a/:x x=b"),
        ("/a/b/c", "/a/b/c"),
        ("/a/b/d", "/a/* *=b/d"),
        ("/l/1/d", "/:x/:y/d x=l y=1"),
        ("/a/b/e", "/a/* *=b/e"),
        ("/a//", "/a/* *=/"),
        ("/b//d", "NotFound"),
        ("/x/1/", "/x/:p/* p=1 *="),
        ("/x/1", "NotFound"),
        ("/x/1/2/3", "/x/:p/* p=1 *=2/3"),
        ("/A", "NotFound"),
        ("/%61", "NotFound"),
        ("*", "NotFound"),
        ("", "NotFound"),
        ("a", "NotFound"),
    ];
    for (path, expected) in cases {
        assert_eq!(found(&router, path), expected, "{path}");
    }
}

#[test]
fn methods_decide_among_equals_and_are_gone_back_for() {
    let router = router(&[
        ("any", "/a"),
        ("GET", "/a"),
        ("POST", "/b"),
        ("GET", "/:x"),
        ("HEAD", "/h"),
        ("GET", "/h"),
        ("PUT", "/only/put"),
    ]);
    let value = |method, path| router.find(method, path).map(|found| *found.value);
    assert_eq!(value("GET", "/a"), Ok("/a"));
    assert_eq!(value("DELETE", "/a"), Ok("/a"));
    assert_eq!(value("GET", "/b"), Ok("/:x"));
    assert_eq!(value("HEAD", "/b"), Ok("/:x"));
    assert_eq!(value("HEAD", "/h"), Ok("/h"));
    let allow = |methods: &str| Err(NoMatch::MethodNotAllowed { allow: methods.into() });
    assert_eq!(value("DELETE", "/b"), allow("GET, HEAD, POST"));
    assert_eq!(value("get", "/only/put"), allow("PUT"));
    assert_eq!(value("PUT", "/only"), allow("GET, HEAD"));
    assert_eq!(value("PUT", "/only/x"), Err(NoMatch::NotFound));
}

#[test]
fn parameters_are_found_by_name_and_place() {
    let router = router(&[("GET", "/:a/:b"), ("PUT", "/:c/:d")]);
    let parameters = router.find("PUT", "/1/2").expect("a route").parameters;
    assert_eq!(parameters.first("c"), Some("1"));
    assert_eq!(parameters.first("a"), None);
    assert_eq!((parameters.at(1), parameters.at(2)), (Some("2"), None));
}

#[test]
fn bad_routes_are_refused_with_advice() {
    let many: String = (0..=MAX_PARAMETERS).map(|index| format!("/:p{index}")).collect();
    let deep = "/x".repeat(MAX_SEGMENTS + 1);
    let cases = [
        ("", RouteError::NoLeadingSlash as fn(String) -> RouteError),
        ("a", RouteError::NoLeadingSlash),
        ("*", RouteError::NoLeadingSlash),
        ("/:", RouteError::EmptyName),
        ("/a/:/b", RouteError::EmptyName),
        ("/{a}", RouteError::Name),
        ("/:a:b", RouteError::Name),
        ("/:*", RouteError::Name),
        ("/:a.b", RouteError::Name),
        ("/:a/:a", RouteError::RepeatedName),
        ("/*/a", RouteError::Wildcard),
        ("/a*", RouteError::Wildcard),
        ("/**", RouteError::Wildcard),
        ("/a b", RouteError::Unmatchable),
        ("/a?b", RouteError::Unmatchable),
        ("/a#b", RouteError::Unmatchable),
        ("/\u{e9}", RouteError::Unmatchable),
        (&many, RouteError::TooLong),
        (&deep, RouteError::TooLong),
    ];
    for (pattern, error) in cases {
        let mut router = Router::default();
        assert_eq!(router.add("GET", pattern, ()), Err(error(pattern.into())), "{pattern}");
        assert_eq!(router.any(pattern, ()), Err(error(pattern.into())), "{pattern}");
        assert!(error(pattern.into()).to_string().contains(pattern));
    }
    for method in ["", "get", "Post", "G T"] {
        let error = Router::default().add(method, "/", ()).expect_err("no method");
        assert_eq!(error, RouteError::Method(method.into()));
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let many: String = (0..MAX_PARAMETERS).map(|index| format!("/:p{index}")).collect();
    let mut router = Router::default();
    router.any(&many, ()).expect("as many as there may be");
    router.any(&"/x".repeat(MAX_SEGMENTS), ()).expect("as deep as it may be");
    let path = "/v".repeat(MAX_PARAMETERS);
    let parameters = router.find("GET", &path).expect("a route").parameters;
    assert_eq!(parameters.iter().count(), MAX_PARAMETERS);
}

#[test]
fn a_route_that_can_never_match_is_refused() {
    let mut router = Router::default();
    for (method, pattern) in [("GET", "/a/:x"), ("GET", "/a/*"), ("GET", "/a")] {
        router.add(method, pattern, ()).expect("a new route");
    }
    router.add("PUT", "/a/:y", ()).expect("another method");
    for pattern in ["/a/:x", "/a/:other", "/a/*", "/a"] {
        let error = RouteError::Duplicate(format!("GET {pattern}"));
        assert_eq!(router.add("GET", pattern, ()), Err(error));
    }
    router.any("/a", ()).expect("for the other methods");
    assert_eq!(router.any("/a", ()), Err(RouteError::Duplicate("any /a".into())));
}

/// Tries every route, and takes the most specific one segment by segment.
fn model(
    routes: &[(Option<&'static str>, Vec<&'static str>)],
    method: &str,
    path: &str,
) -> Result<(usize, Vec<String>), NoMatch> {
    let path: Vec<&str> = path.split('/').skip(1).collect();
    let mut allow = Vec::new();
    let mut best: Option<(Vec<u8>, u8, usize, Vec<String>)> = None;
    for (index, (known, pattern)) in routes.iter().enumerate() {
        let Some((ranks, values)) = fit(pattern, &path) else { continue };
        let method_rank = match known {
            Some(known) if *known == method => 0,
            Some("GET") if method == "HEAD" => 1,
            None => 2,
            Some(known) => {
                allow.push(*known);
                allow.extend((*known == "GET").then_some("HEAD"));
                continue;
            }
        };
        let candidate = (ranks, method_rank, index, values);
        if best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    }
    allow.sort_unstable();
    allow.dedup();
    match best {
        Some((_, _, index, values)) => Ok((index, values)),
        None if allow.is_empty() => Err(NoMatch::NotFound),
        None => Err(NoMatch::MethodNotAllowed { allow: allow.join(", ") }),
    }
}

fn fit(pattern: &[&str], path: &[&str]) -> Option<(Vec<u8>, Vec<String>)> {
    let (mut ranks, mut values) = (Vec::new(), Vec::new());
    for (index, segment) in pattern.iter().enumerate() {
        let actual = path.get(index)?;
        if *segment == "*" {
            ranks.push(2);
            values.push(path[index..].join("/"));
            return Some((ranks, values));
        } else if segment.starts_with(':') && !actual.is_empty() {
            ranks.push(1);
            values.push((*actual).to_owned());
        } else if segment == actual {
            ranks.push(0);
        } else {
            return None;
        }
    }
    (pattern.len() == path.len()).then_some((ranks, values))
}

fn pattern() -> impl Strategy<Value = Vec<&'static str>> {
    let segment = prop::sample::select(&["a", "b", "", ":", ":"][..]);
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(mut segments, rest)| {
        let names = [":p", ":q", ":r", ":s"];
        for (segment, name) in segments.iter_mut().zip(names) {
            if *segment == ":" {
                *segment = name;
            }
        }
        if rest || segments.is_empty() {
            segments.push("*");
        }
        segments
    })
}

proptest! {
    #[test]
    fn behaves_like_trying_every_route(
        routes in prop::collection::vec(
            (prop::option::of(prop::sample::select(&["GET", "POST", "HEAD"][..])), pattern()),
            0..12),
        method in prop::sample::select(&["GET", "POST", "HEAD", "PUT"][..]),
        paths in prop::collection::vec(
            prop::collection::vec(prop::sample::select(&["a", "b", "c", ""][..]), 1..5), 1..8),
    ) {
        let mut router = Router::default();
        let mut added: Vec<(Option<&'static str>, Vec<&'static str>)> = Vec::new();
        for (method, segments) in routes {
            let pattern = format!("/{}", segments.join("/"));
            let index = added.len();
            let result = match method {
                Some(method) => router.add(method, &pattern, index),
                None => router.any(&pattern, index),
            };
            let is_new = added.iter().all(|(known, other)| {
                let shape = |s: &&str| if s.starts_with(':') { ":" } else { *s }.to_owned();
                *known != method || !other.iter().map(shape).eq(segments.iter().map(shape))
            });
            prop_assert_eq!(result.is_ok(), is_new);
            if is_new {
                added.push((method, segments));
            }
        }
        for path in paths {
            let path = format!("/{}", path.join("/"));
            let found = router.find(method, &path).map(|found| {
                let values = found.parameters.iter().map(|(_, value)| value.to_owned()).collect();
                (*found.value, values)
            });
            prop_assert_eq!(found, model(&added, method, &path), "{}", path);
        }
    }
}

#[test]
fn routes_that_fit_come_one_after_the_other() {
    let mut router = Router::default();
    for (pattern, name) in [("/a/b", "literal"), ("/a/:x", "parameter"), ("/a/*", "rest")] {
        router.add("GET", pattern, name).expect("a good pattern");
    }
    router.any("/*", "any").expect("a good pattern");
    let found = |skip| router.find_after("GET", "/a/b", skip).map(|found| *found.value);
    let names: Vec<_> = (0..5).map(found).collect();
    let none = Err(NoMatch::NotFound);
    assert_eq!(names, [Ok("literal"), Ok("parameter"), Ok("rest"), Ok("any"), none]);
    let second = router.find_after("GET", "/a/b", 1).expect("a route");
    assert_eq!(second.parameters.first("x"), Some("b"));
    let third = router.find_after("GET", "/a/b", 2).expect("a route");
    assert_eq!(third.parameters.iter().collect::<Vec<_>>(), [("*", "b")]);
}
