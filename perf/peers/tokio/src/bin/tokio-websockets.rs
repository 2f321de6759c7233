//! Over `tokio-websockets`.

use peers::{Activity, Failure, Hub, Mode, Options, broadcast, echo, serve};
use tokio::net::TcpStream;
use tokio_websockets::{Limits, Message, ServerBuilder};

fn main() {
    let options = Options::parse(&[Mode::Echo, Mode::Broadcast]);
    let limits = Limits::default().max_payload_len(Some(options.max_payload));
    let hub = (options.mode == Mode::Broadcast).then(Hub::default);
    serve(options, move |stream, activity| connection(stream, activity, limits, hub.clone()));
}

async fn connection(
    stream: TcpStream,
    activity: Activity,
    limits: Limits,
    hub: Option<Hub<Message>>,
) -> Result<(), Failure> {
    let (_, socket) = ServerBuilder::new().limits(limits).accept(stream).await?;
    let is_message = |message: &Message| message.is_text() || message.is_binary();
    match hub {
        Some(hub) => broadcast(socket, activity, hub, is_message).await,
        None => echo(socket, activity, is_message).await,
    }
}
