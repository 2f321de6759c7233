//! [`App`]: the routes of a server.

use super::{
    Files, HttpHandler, Proxies, Request, Response, WebSocketConfig, WebSocketHandler,
    endpoint::{Endpoint, Route},
    http_handler::HttpRoute,
    page::Page,
};

/// The routes of a server, made once on each worker.
///
/// A pattern is made of segments: text, `:name` for one segment, and a last `*` for all the rest.
/// Of several that match, the most specific one is chosen. A request for a WebSocket goes to the
/// WebSocket routes first, any other one only to the others; so both may have the same pattern.
///
/// ```
/// use sockeye::{App, Message, Response, WebSocket, on_message};
///
/// let app = App::new()
///     .get("/", |_| Response::text("Hello, world!"))
///     .websocket("/*", on_message(|socket: &mut WebSocket<'_, ()>, message: Message<'_>| {
///         socket.send(message);
///     }));
/// ```
#[derive(Default)]
pub struct App {
    pub(super) sockets: Vec<(String, Box<dyn Endpoint>)>,
    // `None` for all methods that have no page of their own.
    pub(super) pages: Vec<(Option<&'static str>, String, Page)>,
    pub(super) hosts: Vec<(String, Self)>,
    pub(super) proxies: Option<Proxies>,
    // Why no server can be made of it.
    pub(super) faults: Vec<String>,
}

impl App {
    /// Without routes: every request is answered with 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests for this host (a name without a port) go to an app of its own, and not to this
    /// one. That app's own hosts and proxies have no effect.
    ///
    /// ```
    /// use sockeye::{App, Response};
    ///
    /// let api = App::new().get("/", |_| Response::json("{}"));
    /// let app = App::new().get("/", |_| Response::html("<p>Hello")).host("api.example.org", api);
    /// ```
    #[must_use]
    pub fn host(mut self, name: &str, mut app: Self) -> Self {
        self.faults.append(&mut app.faults);
        if name.is_empty() || name.contains('/') || name.contains(':') && !name.ends_with(']') {
            self.faults.push(format!("host '{name}': write a name without scheme, port and path"));
        }
        self.hosts.push((name.to_ascii_lowercase(), app));
        self
    }

    /// Believes these proxies what they say of the client's address.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.faults.extend(proxies.fault.clone());
        self.proxies = Some(proxies);
        self
    }

    /// Adds a WebSocket route with the default [`WebSocketConfig`].
    #[must_use]
    pub fn websocket(self, pattern: &str, handler: impl WebSocketHandler) -> Self {
        self.websocket_with(pattern, WebSocketConfig::default(), handler)
    }

    /// Adds a WebSocket route.
    #[must_use]
    pub fn websocket_with(
        mut self,
        pattern: &str,
        config: WebSocketConfig,
        handler: impl WebSocketHandler,
    ) -> Self {
        self.sockets.push((pattern.to_owned(), Box::new(Route::new(handler, config))));
        self
    }

    /// Adds a route for GET, and with it for HEAD.
    #[must_use]
    pub fn get(self, pattern: &str, page: impl FnMut(&Request<'_>) -> Response + 'static) -> Self {
        self.on("GET", pattern, page)
    }

    /// Adds a route for POST; the page gets the body as a whole, up to
    /// [`HttpLimits::max_body_bytes`](crate::HttpLimits).
    ///
    /// ```
    /// use sockeye::{App, Response};
    ///
    /// let app = App::new().post("/shout", |_, body| {
    ///     Response::text(String::from_utf8_lossy(body).to_uppercase())
    /// });
    /// ```
    #[must_use]
    pub fn post(
        self,
        pattern: &str,
        page: impl FnMut(&Request<'_>, &[u8]) -> Response + 'static,
    ) -> Self {
        self.with_body("POST", pattern, None, page)
    }

    /// As [`App::post`], for PUT.
    #[must_use]
    pub fn put(
        self,
        pattern: &str,
        page: impl FnMut(&Request<'_>, &[u8]) -> Response + 'static,
    ) -> Self {
        self.with_body("PUT", pattern, None, page)
    }

    /// As [`App::post`], for PATCH.
    #[must_use]
    pub fn patch(
        self,
        pattern: &str,
        page: impl FnMut(&Request<'_>, &[u8]) -> Response + 'static,
    ) -> Self {
        self.with_body("PATCH", pattern, None, page)
    }

    /// Adds a route for DELETE.
    #[must_use]
    pub fn delete(
        self,
        pattern: &str,
        page: impl FnMut(&Request<'_>) -> Response + 'static,
    ) -> Self {
        self.on("DELETE", pattern, page)
    }

    /// Adds a route for GET and HEAD that answers with files; the pattern ends with `*`.
    #[must_use]
    pub fn files(mut self, pattern: &str, files: Files) -> Self {
        self.faults.extend(files.fault());
        if !pattern.ends_with("/*") {
            let text = format!("files at '{pattern}': end the pattern with `/*`");
            self.faults.push(text);
        }
        self.get(pattern, move |request| files.respond(request))
    }

    /// Adds a route for one method, or for `"*"`: all methods that have none at the same pattern.
    /// Bodies of requests are read and thrown away.
    #[must_use]
    pub fn on(
        self,
        method: &'static str,
        pattern: &str,
        page: impl FnMut(&Request<'_>) -> Response + 'static,
    ) -> Self {
        self.page(method, pattern, Page::Plain(Box::new(page)))
    }

    /// As [`App::on`] for all methods that have no route at the same pattern.
    #[must_use]
    pub fn any(self, pattern: &str, page: impl FnMut(&Request<'_>) -> Response + 'static) -> Self {
        self.on("*", pattern, page)
    }

    /// Adds a route for one method (or `"*"`, as [`App::on`]) whose page gets the body as a whole.
    /// Longer ones than `max_body_bytes` are answered with 413; `None` stands for
    /// [`HttpLimits::max_body_bytes`](crate::HttpLimits). A body that arrives in one piece with
    /// its head is lent where it stands.
    #[must_use]
    pub fn with_body(
        self,
        method: &'static str,
        pattern: &str,
        max_body_bytes: impl Into<Option<u64>>,
        page: impl FnMut(&Request<'_>, &[u8]) -> Response + 'static,
    ) -> Self {
        let max_body_bytes = max_body_bytes.into();
        self.page(method, pattern, Page::Collecting { max_body_bytes, answer: Box::new(page) })
    }

    /// Adds a route for one method (or `"*"`, as [`App::on`]) that takes bodies, and sends them,
    /// in pieces.
    #[must_use]
    pub fn stream(self, method: &'static str, pattern: &str, handler: impl HttpHandler) -> Self {
        self.page(method, pattern, Page::Streaming(Box::new(HttpRoute::new(handler))))
    }

    fn page(mut self, method: &'static str, pattern: &str, page: Page) -> Self {
        let method = Some(method).filter(|method| *method != "*");
        self.pages.push((method, pattern.to_owned(), page));
        self
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sockets: Vec<&String> = self.sockets.iter().map(|(pattern, _)| pattern).collect();
        let pages: Vec<&String> = self.pages.iter().map(|(_, pattern, _)| pattern).collect();
        f.debug_struct("App").field("sockets", &sockets).field("pages", &pages).finish()
    }
}
