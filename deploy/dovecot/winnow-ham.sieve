# For mail that somebody moves out of Junk, see docs/mail.md; not to the trash.
require ["copy", "environment", "imapsieve", "special-use", "variables", "vnd.dovecot.pipe"];

if environment :matches "imap.mailbox" "*" {
    if specialuse_exists "${1}" "\\Trash" {
        stop;
    }
}
if environment :matches "imap.user" "*" {
    pipe :copy :try "winnow-correct" ["ham", "${1}"];
}
