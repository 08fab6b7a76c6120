//! What all clients connect with, and what asks for credentials: one client of HTTP.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::roots::Roots;

/// The SDK's own client, but that it trusts what it is told to, and reads that when it first connects: the SDK's reads
/// all certificates again for every client of a service, only to see that it can.
#[derive(Debug)]
pub(super) struct Connections {
    tls: TlsContext,
    /// Each has its own open connections.
    connectors: Mutex<HashMap<Timeouts, SharedHttpConnector>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Timeouts {
    connect: Option<Duration>,
    read: Option<Duration>,
}

impl Connections {
    /// Connects nothing yet.
    pub(super) fn new(roots: &Roots) -> Self {
        let tls = TlsContext::builder().with_trust_store(roots.trust_store());
        Self {
            tls: tls.build().expect("a trust store is all that it needs"),
            connectors: Mutex::default(),
        }
    }

    fn connect(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let mut connector = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(ProxyConfig::from_env());
        connector.set_sleep_impl(components.sleep_impl());
        let connector = connector.tls_provider(Provider::rustls(CryptoMode::AwsLc));
        SharedHttpConnector::new(connector.tls_context(self.tls.clone()).build())
    }
}

impl HttpClient for Connections {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let timeouts = Timeouts {
            connect: settings.connect_timeout(),
            read: settings.read_timeout(),
        };
        let mut connectors = self
            .connectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connectors
            .entry(timeouts)
            .or_insert_with(|| self.connect(settings, components))
            .clone()
    }
}
