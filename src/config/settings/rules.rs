//! Rule files: finding and reading them, and holding them against switches and webhooks.
