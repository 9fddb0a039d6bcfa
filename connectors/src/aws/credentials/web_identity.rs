//! Keys for the token of another identity (EKS): `AssumeRoleWithWebIdentity` of STS, which is not signed.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tidemill_engine::ErrorKind;
use ureq::http::Request;

use super::{Credentials, Keys, Lack};
use crate::aws::time;

impl Credentials {
    pub(super) fn web_identity(&self) -> Result<Keys, Lack> {
        let (file, role) = match (self.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), self.variable("AWS_ROLE_ARN")) {
            (Some(file), Some(role)) => (file, role),
            _ => return Err(Lack::NotThere("AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned())),
        };
        let place = format!("the web identity of role \"{role}\"");
        // The token is replaced from time to time, so it is read each time.
        let token = std::fs::read_to_string(&file);
        let token =
            token.map_err(|e| Lack::broken(ErrorKind::Invalid, &place, format!("its token \"{file}\": {e}")))?;
        let region = self.variable("AWS_REGION").or_else(|| self.variable("AWS_DEFAULT_REGION"));
        let host =
            region.map_or_else(|| "sts.amazonaws.com".to_owned(), |region| format!("sts.{region}.amazonaws.com"));
        let url = self.variable("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| format!("https://{host}/"));
        let session = self.variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "tidemill".to_owned());
        let encoded = |value: &str| utf8_percent_encode(value.trim(), NON_ALPHANUMERIC).to_string();
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            encoded(&role),
            encoded(&session),
            encoded(&token)
        );
        let request = Request::post(&url).header("Content-Type", "application/x-www-form-urlencoded");
        let keys = self.ask(request.body(form.as_bytes())).and_then(|answer| keys(&answer.text()));
        keys.map_err(|reason| Lack::broken(ErrorKind::Unavailable, &place, reason))
    }
}

/// Reads keys from an answer in XML, whose values need no decoding: they are of base64 and of times.
fn keys(xml: &str) -> Result<Keys, String> {
    let value = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim().to_owned())
    };
    let (Some(access_key), Some(secret_key)) = (value("AccessKeyId"), value("SecretAccessKey")) else {
        return Err("its answer has no keys".to_owned());
    };
    let expires = value("Expiration").and_then(|text| time::parse(&text));
    let expires = Some(expires.ok_or("it does not say when its keys expire")?);
    Ok(Keys { access_key, secret_key, session_token: value("SessionToken"), expires })
}
