//! [`App`]: the routes of a server.

use super::{
    Request, Response, WebSocketConfig, WebSocketHandler,
    endpoint::{Endpoint, Route},
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
    pub(super) pages: Vec<(Option<&'static str>, String, Box<dyn Page>)>,
}

/// What answers a plain request.
pub(super) trait Page {
    fn answer(&mut self, request: &Request<'_>) -> Response;
}

impl<F: FnMut(&Request<'_>) -> Response> Page for F {
    fn answer(&mut self, request: &Request<'_>) -> Response {
        self(request)
    }
}

impl App {
    /// Without routes: every request is answered with 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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

    /// Adds a route for one method. Bodies of requests are read and thrown away.
    #[must_use]
    pub fn on(
        mut self,
        method: &'static str,
        pattern: &str,
        page: impl FnMut(&Request<'_>) -> Response + 'static,
    ) -> Self {
        self.pages.push((Some(method), pattern.to_owned(), Box::new(page)));
        self
    }

    /// Adds a route for all methods that have none at the same pattern.
    #[must_use]
    pub fn any(
        mut self,
        pattern: &str,
        page: impl FnMut(&Request<'_>) -> Response + 'static,
    ) -> Self {
        self.pages.push((None, pattern.to_owned(), Box::new(page)));
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
