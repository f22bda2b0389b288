# Files spam into Junk, see docs/mail.md. X-Spam-Flag from outside is removed by the filter.
require ["fileinto"];

if header :is "X-Spam-Flag" "YES" {
    fileinto "Junk";
    stop;
}
