//! A WebSocket (RFC 6455) that sends back what it gets.

use axum::{
    Router,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
    routing::any,
};
use tokio::sync::watch;

use crate::serve::{problem, stopped};

/// The longest message.
const MESSAGE_BYTES: usize = 1024 * 1024;

pub(super) fn router(stopping: watch::Receiver<bool>) -> Router {
    Router::new().route("/ws", any(upgrade)).with_state(stopping)
}

async fn upgrade(
    State(stopping): State<watch::Receiver<bool>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => upgrade
            .max_message_size(MESSAGE_BYTES)
            .max_frame_size(MESSAGE_BYTES)
            .on_upgrade(|socket| echo(socket, stopping)),
        Err(rejection) => problem(rejection.status(), "not_a_websocket", &rejection.body_text()),
    }
}

async fn echo(mut socket: WebSocket, mut stopping: watch::Receiver<bool>) {
    loop {
        let message = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            message = socket.recv() => message,
        };
        let sent = match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => socket.send(message).await,
            // Pings and closes are answered by the socket itself.
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => return,
        };
        if sent.is_err() {
            return;
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}
