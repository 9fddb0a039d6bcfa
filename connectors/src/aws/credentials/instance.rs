//! Keys that AWS serves to containers (ECS, EKS) and to instances (EC2, by IMDSv2).

use std::net::Ipv4Addr;

use tidemill_engine::ErrorKind;
use ureq::http::{Request, Uri};

use super::{Credentials, Keys, Lack, Served};

/// Where containers of ECS get their keys.
const CONTAINER: &str = "http://169.254.170.2";
/// Addresses to which a token may be sent without TLS: those of ECS and EKS, which are on the machine itself.
const LOCAL: [&str; 5] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "localhost", "[::1]"];
/// Where instances get them.
const INSTANCE: &str = "http://169.254.169.254";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

impl Credentials {
    pub(super) fn container(&self) -> Result<Keys, Lack> {
        let relative = self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let relative = relative.map(|path| format!("{CONTAINER}{path}"));
        let Some(url) = relative.or_else(|| self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) else {
            return Err(Lack::NotThere("this is no container with a role".to_owned()));
        };
        let place = format!("the container's \"{url}\"");
        if !may_have_a_token(&url) {
            let reason = "it is neither https:// nor on this machine";
            return Err(Lack::broken(ErrorKind::Invalid, &place, reason));
        }
        let mut request = Request::get(&url);
        if let Some(path) = self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            // It is replaced from time to time, so it is read each time.
            let token = std::fs::read_to_string(&path);
            let token =
                token.map_err(|e| Lack::broken(ErrorKind::Invalid, &place, format!("its token \"{path}\": {e}")));
            request = request.header("Authorization", token?.trim());
        } else if let Some(token) = self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
            request = request.header("Authorization", token);
        }
        let served = self.ask(request.body(())).and_then(|answer| Served::parse(&answer.body));
        served.map_err(|reason| Lack::broken(ErrorKind::Unavailable, &place, reason))
    }

    pub(super) fn instance(&self) -> Result<Keys, Lack> {
        if self.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Lack::NotThere("AWS_EC2_METADATA_DISABLED is set".to_owned()));
        }
        let base = self.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned());
        let base = base.trim_end_matches('/');
        let not_there = |reason| Lack::NotThere(format!("this is no instance of EC2 with a role ({reason})"));
        let request = Request::put(format!("{base}/latest/api/token"));
        let request = request.header("X-aws-ec2-metadata-token-ttl-seconds", "21600").body(&b""[..]);
        let token = self.ask(request).map_err(not_there)?.text();
        let get = |path: &str| {
            let request = Request::get(format!("{base}{path}")).header("X-aws-ec2-metadata-token", token.trim());
            self.ask(request.body(()))
        };
        let roles = get(ROLES).map_err(not_there)?.text();
        let Some(role) = roles.lines().next().filter(|role| !role.is_empty()) else {
            return Err(not_there("it has none".to_owned()));
        };
        let served = get(&format!("{ROLES}{role}")).and_then(|answer| Served::parse(&answer.body));
        served
            .map_err(|reason| Lack::broken(ErrorKind::Unavailable, &format!("role \"{role}\" of the instance"), reason))
    }
}

fn may_have_a_token(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let host = url.host().unwrap_or_default();
    url.scheme_str() == Some("https")
        || LOCAL.contains(&host)
        || host.parse::<Ipv4Addr>().is_ok_and(|host| host.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_this_machine_or_by_tls() {
        for good in ["https://a.b/c", "http://127.0.0.1:9/x", "http://169.254.170.23/v1", "http://[::1]/x"] {
            assert!(may_have_a_token(good), "{good}");
        }
        for bad in ["http://a.b/c", "http://169.254.169.254/", "ftp://127.0.0.1x/", "/latest"] {
            assert!(!may_have_a_token(bad), "{bad}");
        }
    }
}
