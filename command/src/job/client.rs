//! A client of the API of a running job.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use tidemill_state::ErrorKind;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::args::job::{Address, At, How};
use crate::failure::Failure;

/// The variable that has the token if no file has it; a job reads the same one.
const VARIABLE: &str = "TIDEMILL_HTTP_TOKEN";
/// Largest answer, in bytes.
const LARGEST: u64 = 64 << 20;

/// A running job.
pub struct Client {
    agent: Agent,
    base: String,
    authorization: Option<String>,
    timeout: Duration,
}

impl Client {
    pub fn of(at: &At) -> Result<Self, Failure> {
        Self::new(&at.at, &at.how)
    }

    pub fn new(at: &Address, how: &How) -> Result<Self, Failure> {
        // A job is asked directly, and answers itself: it sends nobody elsewhere.
        let agent = Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None).build();
        let authorization = token(how)?.map(|token| format!("Bearer {token}"));
        Ok(Self { agent: agent.new_agent(), base: at.0.clone(), authorization, timeout: how.timeout })
    }

    /// Reads a resource of `/api/v1`.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(self.timeout)).build();
        self.document(self.with_token(request).call())
    }

    /// Asks for something to be done.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.agent.post(self.url(path)).config().timeout_global(Some(self.timeout)).build();
        self.document(self.with_token(request).content_type("application/json").send(body.to_string()))
    }

    /// Listens to the events of the job. A job says how it is each second, so silence means that it is gone.
    pub fn events(&self) -> Result<impl BufRead, Failure> {
        let request = self.agent.get(self.url("events")).config().timeout_recv_response(Some(self.timeout)).build();
        let mut response = self.with_token(request).call().map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(&mut response));
        }
        Ok(BufReader::new(response.into_body().into_reader()))
    }

    /// Returns the address of the job, for messages.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }

    fn with_token<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    fn document(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Value, Failure> {
        let mut response = answer.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(&mut response));
        }
        let text = response.body_mut().with_config().limit(LARGEST).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        serde_json::from_str(&text).map_err(|_| self.stranger())
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let why = match error {
            ureq::Error::Timeout(_) => format!("it said nothing for {}", humantime::format_duration(self.timeout)),
            error => error.to_string(),
        };
        let text = format!(
            "no job answers at {}: {why}; does it run, with this address as its --http? What it left can be seen with: tidemill checkpoints list --store DIR",
            self.base
        );
        Failure::new(ErrorKind::Unavailable, text)
    }

    /// The failure for an answer that is a problem, in the words of the job.
    fn refused(&self, response: &mut Response<Body>) -> Failure {
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(LARGEST).read_to_string().unwrap_or_default();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else { return self.stranger() };
        let (kind, next) = match status {
            401 => (
                ErrorKind::Fenced,
                format!(
                    "; give it with --token-file FILE or in {VARIABLE}: a job that was given none writes one to http-token in its checkpoint directory"
                ),
            ),
            403 | 409 => (ErrorKind::Fenced, String::new()),
            500.. => (ErrorKind::Unavailable, String::new()),
            _ => (ErrorKind::Invalid, String::new()),
        };
        Failure::new(kind, format!("the job at {} refuses: {detail}{next}", self.base))
    }

    fn stranger(&self) -> Failure {
        let text = format!(
            "what answers at {} is no job of Tidemill: give the address that the job has as its --http",
            self.base
        );
        Failure::new(ErrorKind::Invalid, text)
    }
}

/// Returns the token, which is in a file or in the environment: a command line can be seen by others.
fn token(how: &How) -> Result<Option<String>, Failure> {
    let (text, whence) = match &how.token_file {
        Some(file) => {
            let unreadable = |error| {
                let text = format!(
                    "cannot read the token in \"{}\": {error}; name the file that the job has written or was given",
                    file.display()
                );
                Failure::new(ErrorKind::Invalid, text)
            };
            (std::fs::read_to_string(file).map_err(unreadable)?, format!("\"{}\"", file.display()))
        }
        None => (std::env::var(VARIABLE).unwrap_or_default(), VARIABLE.to_owned()),
    };
    let token = text.trim();
    if token.is_empty() && how.token_file.is_none() {
        return Ok(None);
    }
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = format!("what is in {whence} is no token: it has letters and digits, in one line");
        return Err(Failure::new(ErrorKind::Invalid, text));
    }
    Ok(Some(token.to_owned()))
}
