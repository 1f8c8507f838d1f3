//! Selects hosts for a workload, then tells every change of a result until it is stopped. Usage: select-and-watch PROFILE

use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

// What is not called stays unused; comments of the contract are no Markdown of Rust.
#[allow(dead_code, clippy::all, rustdoc::all)]
mod assay {
    include!("../gen/assay/v1/assay.v1.rs");
}
use assay::attestation_result_service_client::AttestationResultServiceClient;
use assay::placement_service_client::PlacementServiceClient;
use assay::watch_attestation_results_response::Event;
use assay::{
    CheckOutcome, PlacementRequirements, PlacementTier, SelectHostsRequest, TrustStatus, WatchAttestationResultsRequest,
    WatchAttestationResultsResponse,
};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).ok_or("usage: select-and-watch PROFILE")?;
    let channel = connect(&path)?;
    if let Err(status) = select_and_watch(channel).await {
        eprintln!("{:?} {}: {:?}", status.code(), reason_of(&status), status.message());
        std::process::exit(1);
    }
    Ok(())
}

async fn select_and_watch(channel: Channel) -> Result<(), Status> {
    select(channel.clone()).await?;
    watch(channel).await
}

/// A channel over mutual TLS, with the CA of the service and no other. It dials with the first call.
fn connect(path: &str) -> Result<Channel, Failure> {
    let profile: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let part = |name: &str| profile[name].as_str().ok_or(format!("the profile has no {name}"));
    // The name or address of the URI is what the certificate of the service must carry.
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(part("authority")?))
        .identity(Identity::from_pem(part("certificate")?, part("key")?));
    let endpoint = Endpoint::from_shared(format!("https://{}", part("server")?))?
        .tls_config(tls)?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

async fn select(channel: Channel) -> Result<(), Status> {
    let requirements = PlacementRequirements { minimum_tier: PlacementTier::Affirming.into(), ..Default::default() };
    let mut request = Request::new(SelectHostsRequest { requirements: Some(requirements), count: 10, ..Default::default() });
    request.set_timeout(Duration::from_secs(10));
    let answer = PlacementServiceClient::new(channel).select_hosts(request).await?;
    for host in answer.into_inner().hosts {
        println!("selected {} {}", host.host, name_of(host.status));
    }
    Ok(())
}

/// Goes on behind the last message after every interruption.
async fn watch(channel: Channel) -> Result<(), Status> {
    let mut client = AttestationResultServiceClient::new(channel);
    let mut token = String::new();
    loop {
        let Err(status) = watch_once(&mut client, &mut token).await;
        match status.code() {
            Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => return Err(status),
            // The service cannot resume from there: all present results come anew.
            Code::OutOfRange => token.clear(),
            _ => {}
        }
        println!("interrupted {:?} {}", status.code(), reason_of(&status));
        // At least as long as the service asks for; a real client adds a random part.
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        tokio::time::sleep(asked.max(Duration::from_secs(1))).await;
    }
}

/// Reads one stream to its end, and keeps the token behind what was told.
async fn watch_once(
    client: &mut AttestationResultServiceClient<Channel>,
    token: &mut String,
) -> Result<std::convert::Infallible, Status> {
    let request = WatchAttestationResultsRequest { resume_token: token.clone(), ..Default::default() };
    let mut stream = client.watch_attestation_results(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        *token = message.resume_token.clone();
        tell(message);
    }
    Err(Status::unavailable("the service ended the stream"))
}

fn tell(message: WatchAttestationResultsResponse) {
    match message.event {
        Some(Event::Change(change)) => {
            let word = if change.initial { "present" } else { "changed" };
            let Some(result) = change.result else { return };
            let failed = result.checks.iter().filter(|check| check.outcome() != CheckOutcome::Passed);
            let reasons: String = failed.map(|check| format!(" {}", check.reason)).collect();
            println!("{word} {} {}{reasons}", result.host, name_of(result.status));
        }
        Some(Event::Removal(removal)) => println!("removed {} {}", removal.host, removal.reason),
        Some(Event::Bookmark(bookmark)) if bookmark.synced => println!("synced"),
        _ => {}
    }
}

/// The stable reason; empty where the failure is not the service's but the network's.
fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map_or_else(String::new, |info| info.reason)
}

fn name_of(status: i32) -> &'static str {
    let status = TrustStatus::try_from(status).unwrap_or_default();
    status.as_str_name().trim_start_matches("TRUST_STATUS_")
}
