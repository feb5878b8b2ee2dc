//! A page that is one file in the binary. It sends requests to its server alone. Its content
//! security policy has the hashes of its own script and style, so that no other script runs.

use axum::http::{HeaderName, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The page with its security headers.
pub(crate) fn page(text: &'static str) -> Response {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(text, "script"),
        source(text, "style"),
    );
    let headers: [(HeaderName, String); 3] = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_FRAME_OPTIONS, "DENY".to_owned()),
    ];
    (headers, Html(text)).into_response()
}

/// The hash of the text between the tags of the one element with this name.
fn source(text: &str, element: &str) -> String {
    let within = text
        .split_once(&format!("<{element}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{element}>")))
        .map_or("", |(within, _)| within);
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(within)))
}

#[cfg(test)]
mod tests {
    /// The policy refuses a style attribute, whether written or set, and the browser leaves the
    /// element without it. `element.style` is allowed.
    #[test]
    fn no_page_has_a_style_attribute() {
        for page in [include_str!("../routed/page.html"), include_str!("../watch/page.html")] {
            let (_, body) = page.split_once("</style>").expect("a style");
            for line in body.lines() {
                let attribute = [" style=", "style:", "\"style\""].iter().any(|s| line.contains(s));
                assert!(!attribute, "{line}");
            }
        }
    }
}
