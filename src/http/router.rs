//! [`Router`]: what a method and a path mean.
//!
//! Patterns are made of segments: literal text, `:name` for any one segment that is not empty, and
//! a last `*` for all the rest. At each segment the literal is tried first, then the parameter,
//! then the rest; a way that leads nowhere is gone back. Paths are compared as they are sent,
//! neither decoded nor normalised. Matching allocates nothing, and visits each node of the tree at
//! most once, so no path is expensive.

use std::{cmp::Ordering, fmt};

use super::token::is_token;

/// Routes to values of type `T`.
///
/// ```
/// use sockeye::http::{NoMatch, Router};
/// let mut router = Router::default();
/// router.add("GET", "/users/:id", "show")?;
/// router.any("/files/*", "file")?;
/// let found = router.find("GET", "/users/7").expect("a route");
/// assert_eq!((*found.value, found.parameters.first("id")), ("show", Some("7")));
/// let found = router.find("PUT", "/files/a/b").expect("a route");
/// assert_eq!((*found.value, found.parameters.first("*")), ("file", Some("a/b")));
/// let allow = "GET, HEAD".to_owned();
/// assert_eq!(router.find("PUT", "/users/7").err(), Some(NoMatch::MethodNotAllowed { allow }));
/// # Ok::<(), sockeye::http::RouteError>(())
/// ```
#[derive(Debug)]
pub struct Router<T> {
    root: Node<T>,
}

/// The route of a request.
#[derive(Debug)]
pub struct Match<'r, 'p, T> {
    /// What was registered.
    pub value: &'r T,
    /// The parameters in the path.
    pub parameters: Parameters<'r, 'p>,
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMatch {
    /// No pattern fits the path (404).
    NotFound,
    /// Patterns fit the path, but not with this method (405).
    MethodNotAllowed {
        /// The methods they have, as the value of the Allow field (RFC 9110 §10.2.1).
        allow: String,
    },
}

/// The parameters of a path, in the order of the pattern. The rest that `*` stands for is named
/// `*`. Values are not decoded. They are looked for in the path when they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'r, 'p> {
    parameters: &'r [Parameter],
    path: &'p str,
}

/// The most parameters a pattern has, `*` among them.
pub const MAX_PARAMETERS: usize = 16;

#[derive(Debug)]
struct Node<T> {
    // Invariant: sorted by `order` of their texts, no two of which are equal.
    literals: Vec<(Box<str>, Self)>,
    parameter: Option<Box<Self>>,
    here: Endpoint<T>,
    rest: Endpoint<T>,
}

/// Where a pattern ends.
#[derive(Debug)]
struct Endpoint<T> {
    methods: Vec<(Box<str>, Route<T>)>,
    any: Option<Route<T>>,
}

#[derive(Debug)]
struct Route<T> {
    value: T,
    // Here and not in the nodes, since `GET /:id` and `PUT /:name/x` share a node.
    parameters: Box<[Parameter]>,
}

/// A parameter of a pattern: its name, and how many segments stand before it.
#[derive(Debug)]
struct Parameter {
    name: Box<str>,
    segment: usize,
}

impl<T> Router<T> {
    /// Adds a route for one method. What is found for GET also answers HEAD, unless HEAD has a
    /// route of its own there.
    ///
    /// # Errors
    /// [`RouteError`] if the pattern is malformed, or could never match because the same one has
    /// been added before.
    pub fn add(&mut self, method: &str, pattern: &str, value: T) -> Result<(), RouteError> {
        if !is_token(method.as_bytes())
            || METHODS.contains(&&*method.to_ascii_uppercase()) && !METHODS.contains(&method)
        {
            return Err(RouteError::Method(method.to_owned()));
        }
        let parameters = check_pattern(pattern)?;
        let endpoint = self.endpoint(pattern);
        if endpoint.methods.iter().any(|(known, _)| **known == *method) {
            return Err(RouteError::Duplicate(format!("{method} {pattern}")));
        }
        endpoint.methods.push((method.into(), Route { value, parameters }));
        Ok(())
    }

    /// Adds a route for all methods that have none of their own at the same pattern.
    ///
    /// # Errors
    /// As [`Router::add`].
    pub fn any(&mut self, pattern: &str, value: T) -> Result<(), RouteError> {
        let parameters = check_pattern(pattern)?;
        let endpoint = self.endpoint(pattern);
        if endpoint.any.is_some() {
            return Err(RouteError::Duplicate(format!("any {pattern}")));
        }
        endpoint.any = Some(Route { value, parameters });
        Ok(())
    }

    /// Finds the route of a request: of all that fit, the most specific one.
    ///
    /// # Errors
    /// [`NoMatch`] says with which status to answer.
    #[inline]
    pub fn find<'r, 'p>(
        &'r self,
        method: &str,
        path: &'p str,
    ) -> Result<Match<'r, 'p, T>, NoMatch> {
        self.find_after(method, path, 0)
    }

    /// As [`Router::find`], but for the first `skip` routes that fit. Without another one the path
    /// is not found.
    ///
    /// # Errors
    /// As [`Router::find`].
    pub fn find_after<'r, 'p>(
        &'r self,
        method: &str,
        path: &'p str,
        skip: usize,
    ) -> Result<Match<'r, 'p, T>, NoMatch> {
        let mut search = Search { method, skip, allow: Vec::new() };
        let route = path.strip_prefix('/').and_then(|rest| self.root.find(rest, &mut search));
        match route {
            Some(Route { value, parameters }) => {
                Ok(Match { value, parameters: Parameters { parameters, path } })
            }
            None if search.allow.is_empty() || skip > 0 => Err(NoMatch::NotFound),
            None => {
                search.allow.sort_unstable();
                search.allow.dedup();
                Err(NoMatch::MethodNotAllowed { allow: search.allow.join(", ") })
            }
        }
    }

    /// The end of this pattern in the tree.
    fn endpoint(&mut self, pattern: &str) -> &mut Endpoint<T> {
        let mut node = &mut self.root;
        for segment in pattern.split('/').skip(1) {
            if segment == "*" {
                return &mut node.rest;
            }
            node = if segment.starts_with(':') {
                node.parameter.get_or_insert_default()
            } else {
                node.literal(segment)
            };
        }
        &mut node.here
    }
}

impl<T> Node<T> {
    #[expect(clippy::indexing_slicing, reason = "it was found there, or has just been put there")]
    fn literal(&mut self, segment: &str) -> &mut Self {
        let place = self.literals.binary_search_by(|(text, _)| order(text, segment));
        let index = place.unwrap_or_else(|index| {
            self.literals.insert(index, (segment.into(), Self::default()));
            index
        });
        &mut self.literals[index].1
    }

    /// Finds the route of what is left of a path, one segment or more. The depth of the recursion
    /// is that of the deepest pattern.
    fn find<'r>(&'r self, rest: &str, search: &mut Search<'_, 'r>) -> Option<&'r Route<T>> {
        let (segment, after) = split_segment(rest);
        let mut find_below = |node: &'r Self| match after {
            Some(after) => node.find(after, search),
            None => node.here.find(search),
        };
        let place = self.literals.binary_search_by(|(text, _)| order(text, segment));
        let literal = place.ok().and_then(|index| self.literals.get(index));
        if let Some(route) = literal.and_then(|(_, node)| find_below(node)) {
            return Some(route);
        }
        if let Some(parameter) = self.parameter.as_ref().filter(|_| !segment.is_empty())
            && let Some(route) = find_below(parameter)
        {
            return Some(route);
        }
        if self.rest.is_empty() { None } else { self.rest.find(search) }
    }
}

/// By length first: most texts differ in that.
fn order(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl<T> Endpoint<T> {
    fn find<'r>(&'r self, search: &mut Search<'_, 'r>) -> Option<&'r Route<T>> {
        let of = |method: &str| self.methods.iter().find(|(known, _)| **known == *method);
        // RFC 9110 §9.3.2: HEAD is GET without the content.
        let head = || of("GET").filter(|_| search.method == "HEAD");
        let route = of(search.method).or_else(head).map(|(_, route)| route).or(self.any.as_ref());
        if route.is_some() && search.skip > 0 {
            search.skip = search.skip.saturating_sub(1);
            return None;
        }
        if route.is_none() {
            for (method, _) in &self.methods {
                search.allow.push(method);
                search.allow.extend((**method == *"GET").then_some("HEAD"));
            }
        }
        route
    }

    fn is_empty(&self) -> bool {
        self.methods.is_empty() && self.any.is_none()
    }
}

/// A match in progress.
struct Search<'m, 'r> {
    method: &'m str,
    // How many routes that fit are passed over.
    skip: usize,
    allow: Vec<&'r str>,
}

/// The first segment of a path without its first slash, and what follows, if anything does.
fn split_segment(rest: &str) -> (&str, Option<&str>) {
    let slash = rest.bytes().position(|byte| byte == b'/');
    match slash.and_then(|slash| rest.split_at_checked(slash)) {
        Some((segment, after)) => (segment, after.get(1..)),
        None => (rest, None),
    }
}

impl Parameter {
    /// Its value in a path that fits the pattern.
    fn value<'p>(&self, path: &'p str) -> &'p str {
        let mut rest = path.strip_prefix('/').unwrap_or(path);
        for _ in 0..self.segment {
            rest = split_segment(rest).1.unwrap_or_default();
        }
        if *self.name == *"*" { rest } else { split_segment(rest).0 }
    }
}

impl<'r, 'p> Parameters<'r, 'p> {
    /// The value of the parameter of this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'p str> {
        let parameter = self.parameters.iter().find(|parameter| *parameter.name == *name)?;
        Some(parameter.value(self.path))
    }

    /// The value of the parameter at this place in the pattern.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&'p str> {
        Some(self.parameters.get(index)?.value(self.path))
    }

    /// Names and values, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&'r str, &'p str)> + use<'r, 'p> {
        let path = self.path;
        self.parameters.iter().map(move |parameter| (&*parameter.name, parameter.value(path)))
    }
}

/// The parameters of a pattern, if it is well formed and can match.
fn check_pattern(pattern: &str) -> Result<Box<[Parameter]>, RouteError> {
    let rest = pattern.strip_prefix('/');
    let rest = rest.ok_or_else(|| RouteError::NoLeadingSlash(pattern.to_owned()))?;
    // Such bytes are never in the path of a request.
    if pattern.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#')) {
        return Err(RouteError::Unmatchable(pattern.to_owned()));
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut segments = rest.split('/').peekable();
    let mut count = 0_usize;
    while let Some(segment) = segments.next() {
        let place = count;
        count = count.saturating_add(1);
        let name = match segment.strip_prefix(':') {
            Some("") => return Err(RouteError::EmptyName(pattern.to_owned())),
            Some(name) => name,
            None if segment == "*" && segments.peek().is_none() => segment,
            None if segment.contains('*') => {
                return Err(RouteError::Wildcard(pattern.to_owned()));
            }
            // What other routers call a parameter.
            None if segment.contains(['{', '}']) => {
                return Err(RouteError::Name(pattern.to_owned()));
            }
            None => continue,
        };
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if segment != "*" && !name.bytes().all(is_of_name) {
            return Err(RouteError::Name(pattern.to_owned()));
        }
        if parameters.iter().any(|known| *known.name == *name) {
            return Err(RouteError::RepeatedName(pattern.to_owned()));
        }
        parameters.push(Parameter { name: name.into(), segment: place });
    }
    if parameters.len() > MAX_PARAMETERS || count > MAX_SEGMENTS {
        return Err(RouteError::TooLong(pattern.to_owned()));
    }
    Ok(parameters.into())
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        let (here, rest) = (Endpoint::default(), Endpoint::default());
        Self { literals: Vec::new(), parameter: None, here, rest }
    }
}

impl<T> Default for Endpoint<T> {
    fn default() -> Self {
        Self { methods: Vec::new(), any: None }
    }
}

/// Why a route cannot be added. Each carries the pattern (or method) it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    /// The pattern does not begin with a slash.
    NoLeadingSlash(String),
    /// A colon without a name.
    EmptyName(String),
    /// Braces, or a name of other characters than letters, digits, `_` and `-`.
    Name(String),
    /// Two parameters of the same name.
    RepeatedName(String),
    /// A star that is not the whole last segment.
    Wildcard(String),
    /// White space, controls, `?`, `#` or letters beyond ASCII.
    Unmatchable(String),
    /// More than [`MAX_PARAMETERS`] parameters or 100 segments.
    TooLong(String),
    /// A method that is no token, or a customary one not in capital letters.
    Method(String),
    /// The same pattern has been added for the same method.
    Duplicate(String),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeadingSlash(p) => write!(f, "route `{p}`: begin the pattern with `/`"),
            Self::EmptyName(p) => write!(f, "route `{p}`: write a name after each `:`"),
            Self::Name(p) => write!(
                f,
                "route `{p}`: write a parameter as a segment `:name`, with letters, digits, `_` \
                and `-`"
            ),
            Self::RepeatedName(p) => {
                write!(f, "route `{p}`: give each parameter a name of its own")
            }
            Self::Wildcard(p) => {
                write!(f, "route `{p}`: `*` must be the whole last segment; for one use `:name`")
            }
            Self::Unmatchable(p) => write!(
                f,
                "route `{p}`: can never match; percent-encode what is not visible ASCII, and read \
                the query from the request"
            ),
            Self::TooLong(p) => write!(
                f,
                "route `{p}`: use at most {MAX_PARAMETERS} parameters and {MAX_SEGMENTS} segments"
            ),
            Self::Method(m) => write!(
                f,
                "method `{m}`: methods are tokens and case-sensitive; write `GET`, not `get`"
            ),
            Self::Duplicate(r) => write!(
                f,
                "route `{r}`: can never match, because a route of the same form was added before; \
                remove one (names of parameters make no difference)"
            ),
        }
    }
}

impl std::error::Error for RouteError {}

/// Segments of a pattern: the tree is built and walked to this depth.
const MAX_SEGMENTS: usize = 100;
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

#[cfg(test)]
mod tests;
