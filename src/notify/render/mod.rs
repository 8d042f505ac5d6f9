//! From a notification to the bytes that are sent. Pure: the same notification gives the same bytes.

mod email;
mod json;
mod plot;
mod text;

pub(super) use email::PICTURE;
pub use email::{Email, email, silence_url};
pub(super) use json::versioned_json;
pub use json::webhook_json;
pub use plot::{Drawn, Plot};
pub(super) use text::{escape_html, is_web_link, one_line, plain, shortened};
