use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use tidemill_engine::{Arrival, threads};

use super::*;

/// Answers one request after the other with these statuses and bodies. Returns the address, and what was asked: the request
/// with its headers and body.
fn server(answers: Vec<(u16, String)>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (to, asked) = channel();
    let serve = move || {
        for (status, body) in answers {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut request, mut length) = (String::new(), 0);
            while !request.ends_with("\r\n\r\n") {
                let start = request.len();
                stream.read_line(&mut request).unwrap();
                let line = request[start..].to_ascii_lowercase();
                length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
            }
            let mut content = vec![0; length];
            stream.read_exact(&mut content).unwrap();
            drop(to.send(request + &String::from_utf8(content).unwrap()));
            let head = format!("HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
        }
    };
    threads::spawn("server".to_owned(), serve).unwrap();
    (address, asked)
}

fn credentials(variables: &[(&str, &str)], clock: &Clock) -> Credentials {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Credentials::new(clock.clone(), Box::new(move |name| variables.get(name).cloned()))
}

fn found(variables: &[(&str, &str)]) -> Result<Keys, ConnectorError> {
    credentials(variables, &Clock::manual(Arrival(0))).keys()
}

fn served(access: &str, expiration: &str) -> String {
    format!(r#"{{"AccessKeyId":"{access}","SecretAccessKey":"s3cret","Token":"t0ken","Expiration":"{expiration}"}}"#)
}

fn asked_for(asked: &Receiver<String>) -> String {
    asked.recv_timeout(Duration::from_mins(1)).unwrap()
}

/// Nothing is looked for on the network.
const OFFLINE: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

#[test]
fn the_environment_comes_first_and_half_of_it_is_an_error() {
    let both = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
    let keys = found(&both).unwrap();
    assert_eq!(
        (keys.access_key.as_str(), keys.secret_key.as_str(), keys.session_token.as_deref()),
        ("a", "s", Some("t"))
    );
    assert!(!format!("{keys:?}").contains("secret_key"));
    let error = found(&both[..1]).unwrap_err().to_string();
    assert!(error.contains("need each other"), "{error}");
    let error = found(&[OFFLINE, ("HOME", "/nowhere")]).unwrap_err().to_string();
    for part in ["AWS_ACCESS_KEY_ID is not set", "profile \"default\" in \"/nowhere/.aws/credentials\"", "no container"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_profile_is_read_and_one_that_was_asked_for_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let text = "# mine\n[default]\naws_access_key_id = d\naws_secret_access_key=ds\n\n[ other ] \n aws_access_key_id=o\n\
                aws_secret_access_key = o/s=\naws_session_token = ot\n[half]\naws_access_key_id=h\n";
    fs::write(&path, text).unwrap();
    let file = ("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap());
    let keys = found(&[file]).unwrap();
    assert_eq!((keys.access_key.as_str(), keys.secret_key.as_str(), keys.session_token), ("d", "ds", None));
    let keys = found(&[file, ("AWS_PROFILE", "other")]).unwrap();
    assert_eq!((keys.secret_key.as_str(), keys.session_token.as_deref()), ("o/s=", Some("ot")));
    for (profile, reason) in [("missing", "no aws_access_key_id"), ("half", "need each other")] {
        let error = found(&[file, OFFLINE, ("AWS_PROFILE", profile)]).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(profile), "{error}");
    }
}

#[test]
fn a_container_is_asked_with_its_token() {
    let (address, asked) = server(vec![(200, served("c", "2030-01-01T00:00:00Z")), (403, "no t0ken".to_owned())]);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer b"),
        ("HOME", "/nowhere"),
    ];
    let keys = found(&variables).unwrap();
    assert_eq!((keys.access_key.as_str(), keys.expires), ("c", time::parse("2030-01-01T00:00:00Z")));
    assert!(asked_for(&asked).to_ascii_lowercase().contains("authorization: bearer b"));
    let error = found(&variables).unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("status 403"), "{error}");
    assert!(!error.to_string().contains("t0ken"), "{error}");
    let error = found(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil/"), ("HOME", "/nowhere")]).unwrap_err();
    assert!(error.to_string().contains("neither https:// nor on this machine"), "{error}");
}

#[test]
fn an_instance_is_asked_by_imds_version_2_and_its_keys_are_renewed_before_they_expire() {
    let role = || (200, "readers\n".to_owned());
    let token = || (200, "imds".to_owned());
    let (address, asked) = server(vec![
        token(),
        role(),
        (200, served("first", "1970-01-01T01:00:00Z")),
        token(),
        role(),
        (200, served("second", "1970-01-01T02:00:00Z")),
        (500, String::new()),
    ]);
    let clock = Clock::manual(Arrival(0));
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str()), ("HOME", "/nowhere")];
    let credentials = credentials(&variables, &clock);
    let id = || credentials.keys().map(|keys| keys.access_key);
    assert_eq!(id().unwrap(), "first");
    assert!(asked_for(&asked).starts_with("PUT /latest/api/token"));
    assert!(asked_for(&asked).to_ascii_lowercase().contains("x-aws-ec2-metadata-token: imds"));
    assert!(asked_for(&asked).starts_with(&format!("GET {}readers", "/latest/meta-data/iam/security-credentials/")));
    let minutes = |n: u64| clock.set(Arrival(n * 60_000_000));
    minutes(54);
    assert_eq!(id().unwrap(), "first");
    minutes(56);
    assert_eq!(id().unwrap(), "second");
    minutes(116);
    assert_eq!(id().unwrap(), "second", "the instance does not answer, and they are still valid");
    minutes(120);
    assert!(id().is_err(), "they are not valid any more");
}

#[test]
fn keys_that_the_service_refused_are_looked_for_again() {
    let at = "2030-01-01T00:00:00Z";
    let (address, _asked) = server(vec![(200, served("old", at)), (200, served("new", at))]);
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()), ("HOME", "/nowhere")];
    let credentials = credentials(&variables, &Clock::manual(Arrival(0)));
    let old = credentials.keys().unwrap();
    assert_eq!(credentials.keys().unwrap(), old);
    credentials.forget(&old);
    assert_eq!(credentials.keys().unwrap().access_key, "new");
    credentials.forget(&old);
    assert_eq!(credentials.keys().unwrap().access_key, "new", "another thread was faster");
}

#[test]
fn a_web_identity_is_exchanged_at_sts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "j.w/t\n").unwrap();
    let xml = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><SessionToken>t+/=</SessionToken>\
               <SecretAccessKey>s</SecretAccessKey><Expiration>2030-01-01T00:00:00Z</Expiration><AccessKeyId>w</AccessKeyId>\
               </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    let (address, asked) = server(vec![(200, xml.to_owned()), (200, "<html>".to_owned())]);
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ENDPOINT_URL_STS", address.as_str()),
    ];
    let keys = found(&variables).unwrap();
    assert_eq!((keys.access_key.as_str(), keys.session_token.as_deref()), ("w", Some("t+/=")));
    let request = asked_for(&asked);
    assert!(request.contains("WebIdentityToken=j%2Ew%2Ft") && request.contains("RoleArn=arn%3Aaws%3Aiam"), "{request}");
    let error = found(&variables).unwrap_err().to_string();
    assert!(error.contains("role/r") && error.contains("no keys"), "{error}");
}
