-- Asks Winnow for a mail's label over HTTP, see docs/mail.md. It fails open: without a label in time
-- the mail gets WINNOW_FAIL, which scores nothing.

local rspamd_http = require "rspamd_http"
local rspamd_logger = require "rspamd_logger"
local ucl = require "ucl"

local URL = "http://127.0.0.1:9109/v1/label/mail"  -- the last part is the route
local TOKEN = nil                                  -- the text of filter.token_file, if there is one
local SECONDS = 2.0                                -- half a second more than the filter's deadline

local SYMBOLS = {  -- by decision: name and score, which the confidence multiplies
  spam = { name = "WINNOW_SPAM", score = 4.0 },
  ham = { name = "WINNOW_HAM", score = -1.0 },
  unsure = { name = "WINNOW_UNSURE", score = 0.0 },
}

local function fail(task, reason)
  rspamd_logger.infox(task, "winnow: no label: %s", reason)
  task:insert_result("WINNOW_FAIL", 1.0, tostring(reason))
end

local function answered(task, err, code, body)
  if err or code ~= 200 then
    return fail(task, err or code)
  end
  local parser = ucl.parser()
  if not parser:parse_string(body) then
    return fail(task, "not JSON")
  end
  local label = parser:get_object()
  local symbol = SYMBOLS[label.decision]
  if not symbol then
    return fail(task, "a decision without a symbol")
  end
  task:insert_result(symbol.name, label.confidence, label.id)
end

local function ask(task)
  local sent = rspamd_http.request({
    task = task,
    url = URL,
    method = "post",
    mime_type = "message/rfc822",
    headers = TOKEN and { Authorization = "Bearer " .. TOKEN } or {},
    body = task:get_content(),
    timeout = SECONDS,
    callback = function(err, code, body)
      answered(task, err, code, body)
    end,
  })
  if not sent then
    fail(task, "no request")
  end
end

local parent = rspamd_config:register_symbol({
  name = "WINNOW_ASK",
  type = "callback",
  callback = ask,
  flags = "empty",
})
local virtual = { WINNOW_FAIL = 0.0 }
for _, symbol in pairs(SYMBOLS) do
  virtual[symbol.name] = symbol.score
end
for name, score in pairs(virtual) do
  rspamd_config:register_symbol({ name = name, type = "virtual", parent = parent })
  rspamd_config:set_metric_symbol({ name = name, score = score, group = "winnow" })
end
