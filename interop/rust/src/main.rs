//! Runs one scenario against gitpod.v1.SecretService by connectrpc and tonic, in each protocol and codec that they speak.
//! It prints a line for each: library, protocol, codec and result, with tabs between them.
//!
//! GITPOD_BASE_URL is where the service speaks Connect and gRPC-Web, GITPOD_GRPC_URL where it speaks gRPC. GITPOD_API_KEY
//! is the token.

mod connect;
mod grpc;
mod scenario;

use std::env;
use std::time::Duration;

use connectrpc::{CodecFormat, Protocol};
use tokio::time;

use crate::connect::Connect;
use crate::grpc::Tonic;
use crate::scenario::Client;

#[tokio::main]
async fn main() {
    let [url, grpc_url, token] =
        ["GITPOD_BASE_URL", "GITPOD_GRPC_URL", "GITPOD_API_KEY"].map(|name| env::var(name).expect(name));
    for (codec, format) in [("binary", CodecFormat::Proto), ("json", CodecFormat::Json)] {
        let clients = [
            ("connect", Connect::new(&url, Protocol::Connect, format)),
            ("connect GET", Connect::new(&url, Protocol::Connect, format).with_get()),
            ("grpc-web", Connect::new(&url, Protocol::GrpcWeb, format)),
            ("grpc", Connect::new(&grpc_url, Protocol::Grpc, format)),
        ];
        for (protocol, client) in clients {
            report("connect-rust", protocol, codec, &client, &token).await;
        }
    }
    let tonic = Tonic::new(grpc_url).expect("the machine has root certificates");
    report("tonic", "grpc", "binary", &tonic, &token).await;
}

async fn report(library: &str, protocol: &str, codec: &str, client: &impl Client, token: &str) {
    let result = match time::timeout(Duration::from_secs(60), scenario::run(client, token)).await {
        Ok(Ok(())) => "ok".into(),
        Ok(Err(wrong)) => wrong,
        Err(_) => "it takes longer than a minute".into(),
    };
    println!("{library}\t{protocol}\t{codec}\t{result}");
}
