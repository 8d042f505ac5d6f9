//! What a template's text becomes, and what foreign values must lose on their way into it.
//!
//! Labels and annotations are written by whatever is watched. Inserted into a message they are text: they add no markup, no
//! link with another name, and they mention nobody. The text of a template itself is its author's and stays as it is; an author
//! who trusts a value lets it through with `safeHtml`.

use super::render::plain;

/// What a template's text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Plain text: a header, an address, a field of a protocol, the plain part of a mail.
    Text,
    /// Markup: inserted values are escaped by the template's engine.
    Html,
    /// HTML for a chat: as [`Form::Html`], and nobody is mentioned.
    ChatHtml,
    /// Plain text for a chat that looks for mentions and tags in it.
    Chat,
    /// Markdown of a chat that knows the backslash.
    Markdown,
    /// Slack's mrkdwn (<https://docs.slack.dev/messaging/formatting-message-text>).
    Slack,
    /// Jira's wiki markup: mentions, links and macros stand in brackets.
    JiraWiki,
    /// Telegram's `Markdown` (<https://core.telegram.org/bots/api#markdown-style>).
    TelegramMarkdown,
    /// Telegram's `MarkdownV2` (<https://core.telegram.org/bots/api#markdownv2-style>).
    TelegramMarkdownV2,
}

/// Not seen, and ends a word: what stands before it is no mention and no tag.
const BREAK: char = '\u{200b}';

impl Form {
    /// Whether the template's engine must escape for HTML.
    pub fn is_html(self) -> bool {
        matches!(self, Form::Html | Form::ChatHtml)
    }

    /// An inserted value made harmless, before any escaping for HTML.
    pub fn harmless(self, value: &str) -> String {
        let value = match self {
            Form::Text | Form::Html => return value.to_owned(),
            _ => plain(value),
        };
        match self {
            Form::Text | Form::Html => value,
            Form::ChatHtml => no_mentions(&value),
            Form::Chat => no_tags(&no_mentions(&value)),
            Form::Slack => no_mentions(&value).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            _ if is_bare_link(&value) => value,
            Form::Markdown => backslashed(&no_tags(&no_mentions(&value)), "\\`*_~[]<>|"),
            Form::JiraWiki => backslashed(&no_mentions(&value), "\\[]{}|!"),
            Form::TelegramMarkdown => backslashed(&no_mentions(&value), "_*`["),
            Form::TelegramMarkdownV2 => backslashed(&no_mentions(&value), "\\_*[]()~`>#+-=|{}.!"),
        }
    }
}

/// A web address with nothing in it that any of the markups reads: it stays a link.
fn is_bare_link(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.:%?&=-+,;$".contains(c);
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
}

/// `@word` is a mention where a word begins with it; after a letter or digit it is an address.
fn no_mentions(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        out.push(c);
        if matches!(c, '@' | '\u{ff20}') && !before.is_alphanumeric() {
            out.push(BREAK);
        }
        before = c;
    }
    out
}

/// `<at ...>`, `<!here>`, `<@U1>`, `<#C1>`: no `<` begins a tag.
fn no_tags(text: &str) -> String {
    text.replace('<', &format!("<{BREAK}"))
}

fn backslashed(text: &str, special: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserted_values_mention_nobody_and_add_no_markup() {
        let check = |form: Form, value: &str, expected: &str| assert_eq!(form.harmless(value), expected, "{form:?}");
        check(Form::Text, "a*b @all", "a*b @all");
        check(Form::Chat, "@all ops@x.test <at user_id=\"all\">\u{202e}", {
            "@\u{200b}all ops@x.test <\u{200b}at user_id=\"all\">\u{fffd}"
        });
        check(Form::Slack, "<!channel> & <@U1> @here", "&lt;!channel&gt; &amp; &lt;@\u{200b}U1&gt; @\u{200b}here");
        check(Form::Markdown, "[ok](http://evil) @everyone `x`\u{1b}[31m", {
            "\\[ok\\](http://evil) @\u{200b}everyone \\`x\\`\u{fffd}\\[31m"
        });
        check(Form::Markdown, "http://h/graph?g0.expr=up%5B5m%5D", "http://h/graph?g0.expr=up%5B5m%5D");
        check(Form::Markdown, "https://h/a_b_c", "https://h/a\\_b\\_c");
        check(Form::ChatHtml, "<b>@channel", "<b>@\u{200b}channel");
        check(Form::JiraWiki, "[~admin] {html}", "\\[~admin\\] \\{html\\}");
        check(Form::TelegramMarkdown, "a_b [x]", "a\\_b \\[x]");
        check(Form::TelegramMarkdownV2, "a.b!", "a\\.b\\!");
    }
}
