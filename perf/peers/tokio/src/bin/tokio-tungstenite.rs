//! Over `tokio-tungstenite`.

use peers::{Activity, Failure, Hub, Mode, Options, broadcast, echo, serve};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

fn main() {
    let options = Options::parse(&[Mode::Echo, Mode::Broadcast]);
    let max_payload = Some(options.max_payload);
    let config =
        WebSocketConfig::default().max_message_size(max_payload).max_frame_size(max_payload);
    let hub = (options.mode == Mode::Broadcast).then(Hub::default);
    serve(options, move |stream, activity| connection(stream, activity, config, hub.clone()));
}

async fn connection(
    stream: TcpStream,
    activity: Activity,
    config: WebSocketConfig,
    hub: Option<Hub<Message>>,
) -> Result<(), Failure> {
    let socket: WebSocketStream<_> = accept_async_with_config(stream, Some(config)).await?;
    let is_message = |message: &Message| message.is_text() || message.is_binary();
    match hub {
        Some(hub) => broadcast(socket, activity, hub, is_message).await,
        None => echo(socket, activity, is_message).await,
    }
}
