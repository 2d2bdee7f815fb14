-- job: a record and its fields. A record is
--   header   71 bytes, HEADER: all that changes; rewritten in place
--   rest     I2 id, B type, B tags {B key, B value}, then what only readers outside look at (records.py)
--   payload  B kind, body
-- meta_len, the header's last field, is where the payload begins: a read without payload is one GETRANGE.
local SCHEDULED, BLOCKED, WAITING, ACTIVE, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6, 7
local CANCEL_ASKED, HAS_EXTRAS, CALLERS_ID = 1, 2, 4
local HEADER, HEADER_LEN = '>BBi4I4I2BI4I6I6I6I6I6c8I6I6I4', 71
local NO_TOKEN = '\0\0\0\0\0\0\0\0'

-- Jobs this call has changed, by arrival number; lib/commit writes them out.
local touched, order = {}, {}

local function ended(state)
  return state >= COMPLETED
end

local function arrival6(n)
  return struct.pack('>I6', n)
end

local function has(job, flag)
  return math.floor(job.flags / flag) % 2 == 1
end

local function set_flag(job, flag)
  if not has(job, flag) then job.flags = job.flags + flag end
end

local function clear_flag(job, flag)
  if has(job, flag) then job.flags = job.flags - flag end
end

local function header(job)
  return struct.pack(HEADER, job.state, job.flags, job.priority, job.attempt, job.failures, job.crashes, job.revision,
    job.create, job.due, job.start, job.end_, job.lease, job.token, job.keep_done, job.keep_failed, job.meta_len)
end

-- A job's fields, all at once: a table that grows field by field is built several times over. The last ones are of this
-- call: its meta as an answer has it, payload and payload_new (to be written), extras changed and extras_gone, tags
-- changed, gone (to be deleted), quiet (no event).
local function job_of(n, arrival, was, rest, state, flags, priority, attempt, failures, crashes, revision, create, due,
    start, end_, lease, token, keep_done, keep_failed, meta_len)
  local id, type, at = struct.unpack('>I2c0Bc0', rest)
  return {n = n, arrival = arrival, was = was, rest = rest, id = id, type = type, tags_at = at,
    state = state, flags = flags, priority = priority, attempt = attempt, failures = failures, crashes = crashes,
    revision = revision, create = create, due = due, start = start, end_ = end_, lease = lease, token = token,
    keep_done = keep_done, keep_failed = keep_failed, meta_len = meta_len,
    meta = false, payload = false, payload_new = false, extras = false, extras_gone = false, old_tags = false,
    new_tags = false, gone = false, quiet = false}
end

local function tags(job)
  local found, rest, at = {}, job.rest, job.tags_at
  local count = string.byte(rest, at)
  at = at + 1
  for i = 1, count do
    local name, value
    name, value, at = struct.unpack('>Bc0Bc0', rest, at)
    found[i] = '#' .. name .. '=' .. value
  end
  return found
end

local function parse(n, record)
  local state, flags, priority, attempt, failures, crashes, revision, create, due, start, end_, lease, token, keep_done,
    keep_failed, meta_len = struct.unpack(HEADER, record)
  local rest = string.sub(record, HEADER_LEN + 1, meta_len)
  local job = job_of(n, arrival6(n), false, rest, state, flags, priority, attempt, failures, crashes, revision, create,
    due, start, end_, lease, token, keep_done, keep_failed, meta_len)
  -- What places it in the queue's structures, as it stood when it was read.
  job.was = {state = state, type = job.type, priority = priority, due = due, lease = lease, end_ = end_}
  return job
end

-- The job without its payload, or nil. 256 bytes hold nearly every record's meta; a longer one takes a second read.
local function load(n)
  local at = key('j' .. arrival6(n))
  local head = redis.call('GETRANGE', at, 0, 255)
  if #head < HEADER_LEN then return nil end
  local meta_len = struct.unpack('>I4', head, HEADER_LEN - 3)
  if meta_len > #head then head = redis.call('GETRANGE', at, 0, meta_len - 1) end
  return parse(n, head)
end

-- The job with its payload, or nil.
local function load_full(n)
  local record = redis.call('GET', key('j' .. arrival6(n)))
  if not record then return nil end
  local job = parse(n, record)
  job.payload = string.sub(record, job.meta_len + 1)
  return job
end

-- A job's extras as HGETALL gives them, what this call has changed included; false where it has none.
local function extras(job)
  if not has(job, HAS_EXTRAS) then return false end
  local found = job.extras_gone and {} or redis.call('HGETALL', key('h' .. job.arrival))
  for field, value in pairs(job.extras or {}) do
    found[#found + 1] = field
    found[#found + 1] = value
  end
  return found
end

-- Fields: e errors, p progress, r result, c cancel.
local function put_extra(job, field, value)
  job.meta = nil
  set_flag(job, HAS_EXTRAS)
  if not job.extras then job.extras = {} end
  job.extras[field] = value
end

local function get_extra(job, field)
  if job.extras and job.extras[field] then return job.extras[field] end
  if not has(job, HAS_EXTRAS) then return false end
  return redis.call('HGET', key('h' .. job.arrival), field)
end

-- Gives the job another rest, which begins with its id, and this payload behind it. Of several in one call the first
-- knows under which tags it is listed.
local function rewrite(job, rest, payload)
  job.old_tags = job.old_tags or tags(job)
  job.rest = rest
  job.type, job.tags_at = struct.unpack('>Bc0', rest, 3 + #job.id)
  job.meta_len = HEADER_LEN + #rest
  job.payload_new, job.new_tags = payload, tags(job)
end

-- The job as it stands now, as an answer: {arrival, meta and payload where it was read, extras}.
local function answer(job)
  job.meta = job.meta or header(job) .. job.rest
  return {job.arrival, job.meta .. (job.payload or ''), extras(job)}
end
