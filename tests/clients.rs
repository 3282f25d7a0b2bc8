//! Clients that released generators make of the served OpenAPI document have every call, and tell a story against a running
//! process without a line of HTTP of their own.

use crate::harness::{GeneratedClient, Receiver, Site};

async fn tells_its_story(client: GeneratedClient) {
    let receiver = Receiver::accepting().await;
    let site = Site::from_nothing();
    let standalone = site.start("standalone").await;
    client.tells_its_story(&standalone.api(), &receiver).await;
}

#[tokio::test]
async fn the_python_client_has_every_call_and_tells_its_story() {
    tells_its_story(GeneratedClient::Python).await;
}

#[tokio::test]
async fn the_typescript_client_has_every_call_compiles_strictly_and_tells_its_story() {
    tells_its_story(GeneratedClient::TypeScript).await;
}
