# Files spam into Junk where Rspamd asks Winnow, see docs/mail.md. Rspamd removes X-Spam from outside.
require ["fileinto"];

if header :is "X-Spam" "Yes" {
    fileinto "Junk";
    stop;
}
