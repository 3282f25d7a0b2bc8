//! Passwords inside urls are not shown.

use schemas::MASK;

/// `text` with the passwords of the urls in it masked: `amqp://user:***@host`. Other texts come back as they are.
///
/// It masks too much rather than too little: what stands before the last `@` of a url is taken for its user and password,
/// because a password with an unescaped `/` or `@` must not be shown either.
pub fn mask_url(text: &str) -> String {
    let mut parts = text.split("://");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        masked.push_str("://");
        masked.push_str(&mask_parameters(&mask_password(rest)));
    }
    masked
}

fn mask_password(rest: &str) -> String {
    let Some((login, host)) = rest.rsplit_once('@') else { return rest.to_owned() };
    match login.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@{host}"),
        None => format!("{MASK}@{host}"),
    }
}

/// PostgreSQL also takes the password as a parameter.
fn mask_parameters(rest: &str) -> String {
    let Some((before, query)) = rest.split_once('?') else { return rest.to_owned() };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if name.to_lowercase().contains("password") => format!("{name}={MASK}"),
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{before}?{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::mask_url;

    #[test]
    fn passwords_in_urls_are_masked_and_the_rest_stays_readable() {
        for (text, masked) in [
            ("amqp://user:pass@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
            ("amqp://u:p@one,amqp://u:p@two", "amqp://u:***@one,amqp://u:***@two"),
            ("amqp://u:p@one,u:p@two:5672", "amqp://u:***@two:5672"),
            ("amqp://u:a/b@c@host", "amqp://u:***@host"),
            ("https://token@host/", "https://***@host/"),
            (
                "postgres://host/db?user=u&password=p&sslmode=require",
                "postgres://host/db?user=u&password=***&sslmode=require",
            ),
            ("postgres://host:5432/db", "postgres://host:5432/db"),
            ("embedded:", "embedded:"),
            ("someone@example.org", "someone@example.org"),
        ] {
            assert_eq!(mask_url(text), masked);
        }
    }
}
