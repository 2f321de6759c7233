//! Over `sockudo-ws`, on tokio. It has an idle timeout of its own; its handshake takes HTTP/2.

use peers::{Activity, Failure, Hub, Mode, Options, broadcast, echo, handshake, serve};
use sockudo_ws::{Config, Message, WebSocketStream};
use tokio::net::TcpStream;

fn main() {
    let mut options = Options::parse(&[Mode::Echo, Mode::Broadcast]);
    let timeout = std::mem::take(&mut options.idle_timeout).as_secs();
    let config = Config::builder()
        .max_message_size(options.max_payload)
        .max_frame_size(options.max_payload)
        .idle_timeout(u32::try_from(timeout).unwrap_or(u32::MAX))
        .build();
    let hub = (options.mode == Mode::Broadcast).then(Hub::default);
    serve(options, move |stream, activity| {
        connection(stream, activity, config.clone(), hub.clone())
    });
}

async fn connection(
    mut stream: TcpStream,
    activity: Activity,
    config: Config,
    hub: Option<Hub<Message>>,
) -> Result<(), Failure> {
    handshake::accept(&mut stream).await?;
    let socket = WebSocketStream::server(stream, config);
    let is_message = |message: &Message| matches!(message, Message::Text(_) | Message::Binary(_));
    match hub {
        Some(hub) => broadcast(socket, activity, hub, is_message).await,
        None => echo(socket, activity, is_message).await,
    }
}
