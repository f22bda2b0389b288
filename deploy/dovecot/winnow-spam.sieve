# For mail that somebody moves into Junk, see docs/mail.md.
require ["copy", "environment", "imapsieve", "variables", "vnd.dovecot.pipe"];

if environment :matches "imap.user" "*" {
    pipe :copy :try "winnow-correct" ["spam", "${1}"];
}
