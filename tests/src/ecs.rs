//! What ECS has for a container: credentials, and an agent that protects its task from scale-in.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>,
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, put};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::rds::Access;

/// What whoever asks for credentials must bring.
const TOKEN: &str = "container-authorization-token";

/// How the agent answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Agent {
    /// It does what it is asked.
    #[default]
    Good,
    /// It answers with this status.
    Broken(u16),
    /// It says 200, and that ECS has refused.
    Refusing,
    /// It never answers.
    Silent,
}

/// A request to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// `ProtectionEnabled`.
    pub protected: bool,
    /// `ExpiresInMinutes`.
    pub minutes: Option<u64>,
}

/// A running ECS; dropping it stops it.
#[derive(Debug)]
pub struct Ecs {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _server: JoinSet<std::io::Result<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    credentials: Option<(Access, Timestamp)>,
    /// How many times credentials were handed out.
    handed_out: usize,
    agent: Agent,
    asked: Vec<Asked>,
}

impl Ecs {
    /// Starts one in the current runtime.
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::<Mutex<Shared>>::default();
        let router = Router::new()
            .route("/credentials", get(credentials))
            .route("/agent/task-protection/v1/state", put(protect))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::from_std(listener)?;
        let mut server = JoinSet::new();
        server.spawn(async { axum::serve(listener, router).await });
        Ok(Self {
            address,
            shared,
            _server: server,
        })
    }

    /// The settings with which a program takes its credentials from here, and from nowhere else.
    pub fn credentials_environment(&self) -> [(&'static str, String); 5] {
        let url = format!("http://{}/credentials", self.address);
        [
            ("AWS_ACCESS_KEY_ID", String::new()),
            ("AWS_SECRET_ACCESS_KEY", String::new()),
            ("AWS_SESSION_TOKEN", String::new()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN.to_owned()),
        ]
    }

    /// Hands out these credentials from now on, and says that they end then.
    pub fn hand_out(&self, access: Access, ends_in: Duration) {
        self.shared().credentials = Some((access, Timestamp::now() + ends_in));
    }

    /// How many times credentials were handed out.
    pub fn handed_out(&self) -> usize {
        self.shared().handed_out
    }

    /// The value for `ECS_AGENT_URI`.
    pub fn agent_uri(&self) -> String {
        format!("http://{}/agent", self.address)
    }

    /// Changes how the agent answers.
    pub fn set_agent(&self, agent: Agent) {
        self.shared().agent = agent;
    }

    /// What the agent was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared().asked.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn credentials(
    State(shared): State<Arc<Mutex<Shared>>>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let mut shared = lock(&shared);
    if headers.get(AUTHORIZATION).is_none_or(|sent| sent != TOKEN) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    let Some((access, end)) = shared.credentials.clone() else {
        return (StatusCode::NOT_FOUND, String::new());
    };
    shared.handed_out += 1;
    let answer = json!({
        "AccessKeyId": access.access_key,
        "SecretAccessKey": access.secret_key,
        "Token": access.session_token,
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    (StatusCode::OK, answer.to_string())
}

async fn protect(
    State(shared): State<Arc<Mutex<Shared>>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let asked: Value = serde_json::from_str(&body).unwrap_or_default();
    let is_json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|sent| sent == "application/json");
    let field = |name: &str| asked.get(name);
    let protected = field("ProtectionEnabled").and_then(Value::as_bool);
    let (true, Some(protected)) = (is_json, protected) else {
        return (StatusCode::BAD_REQUEST, format!("no request: {body}"));
    };
    let agent = {
        let mut shared = lock(&shared);
        shared.asked.push(Asked {
            at: Instant::now(),
            protected,
            minutes: field("ExpiresInMinutes").and_then(Value::as_u64),
        });
        shared.agent
    };
    let good =
        json!({"protection": {"ProtectionEnabled": protected, "TaskArn": "arn:aws:ecs:…:task/1"}});
    let refused = json!({"failure": {"Arn": "arn:aws:ecs:…:task/1", "Detail": null, "Reason": "TASK_NOT_VALID"}});
    match agent {
        Agent::Good => (StatusCode::OK, good.to_string()),
        Agent::Refusing => (StatusCode::OK, refused.to_string()),
        Agent::Broken(status) => {
            let status = StatusCode::from_u16(status).expect("an HTTP status");
            (status, "oh dear".to_owned())
        }
        Agent::Silent => std::future::pending().await,
    }
}
