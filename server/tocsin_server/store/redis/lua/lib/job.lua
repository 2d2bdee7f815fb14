-- job: a record and its fields. A record is
--   header   51 bytes, HEADER: all that changes; rewritten in place
--   rest     B type, with CONDITIONS I2 conditions (lib/conditions), B tags {B key, B value}, then what only readers outside
--            look at (records.py), at its end the 12 bytes of OWN_RETENTION: I6 of COMPLETED and CANCELLED, I6 of FAILED
--   own      what no other job has: 4 bytes of a store-made id (lib/ids), of any other I2 id
--   payload  B kind, body
-- Header and rest are the meta: jobs that were scheduled alike, at one time, have the same. The header's last field is
-- the length of the rest: a read without payload is one GETRANGE.
local SCHEDULED, BLOCKED, WAITING, ACTIVE, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6, 7
-- A held job, which is pending: its state is greater by this.
local PUT_BY = 16
local CANCEL_ASKED, HAS_EXTRAS, OWN_ID, OWN_RETENTION, HAS_LOG = 1, 2, 4, 8, 16
local FIRED = 32  -- by a schedule: its id bears the nominal time
local CONDITIONS = 64
-- FILED: it stands where limits and turns look for it (lib/filing)
local FILED = 128
local HEADER, HEADER_LEN = '>BBi4I4I2BI4I6I6I6I6c8I2', 51
local NO_TOKEN = '\0\0\0\0\0\0\0\0'
local COMMON_DONE, COMMON_FAILED = 86400000, 2592000000  -- retention in ms, where a job has none of its own

local few = false  -- whether a job was met that has conditions, or is filed (lib/rare)

-- Jobs this call has changed, by arrival number; lib/commit writes them out.
local touched = {}

local function ended(state)
  return state >= COMPLETED
end

local function arrival6(n)
  return struct.pack('>I6', n)
end

local function has(job, flag)
  return job.flags % (flag + flag) >= flag
end

local function set_flag(job, flag)
  if not has(job, flag) then job.flags = job.flags + flag end
end

local function clear_flag(job, flag)
  if has(job, flag) then job.flags = job.flags - flag end
end

-- Of an ACTIVE job `ends` is the end of its lease, of an ended one its end, of any other 0, or 1 where it keeps its key's
-- place for its retry (lib/filing).
local function meta_of(job)
  if not job.meta then
    job.meta = struct.pack(HEADER, job.held and job.state + PUT_BY or job.state, job.flags, job.priority, job.attempt, job.failures, job.crashes,
      job.revision, job.create, job.due, job.start, job.ends, job.token, #job.rest) .. job.rest
  end
  return job.meta
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

-- Where a rest goes on that has conditions, or none, from `at` on.
local function behind_conditions(rest, at, flags)
  if flags % (CONDITIONS + CONDITIONS) < CONDITIONS then return at end
  local high, low = string.byte(rest, at, at + 1)
  return at + 2 + 256 * high + low
end

-- The job that a meta tells of. n, arrival and own say which one it is, where it is one alone; `was` is what placed it
-- in the queue's structures when it was read. Of this call are: payload and payload_new (to be written), extras changed,
-- extras_gone and log_gone, old_tags and new_tags, gone (to be deleted), quiet (no event); old: its conditions as they were.
local function parse(meta)
  local state, flags, priority, attempt, failures, crashes, revision, create, due, start, ends, token =
    struct.unpack(HEADER, meta)
  local held = state > PUT_BY
  if held then state = state - PUT_BY end
  local rest = string.sub(meta, HEADER_LEN + 1)
  local type, at = struct.unpack('>Bc0', rest)
  local job = {meta = meta, rest = rest, type = type, tags_at = behind_conditions(rest, at, flags), state = state,
    flags = flags, priority = priority, attempt = attempt, failures = failures, crashes = crashes, revision = revision,
    create = create, due = due, start = start, ends = ends, token = token, held = held,
    was = {held = held, state = state, type = type, priority = priority, due = due, ends = ends, flags = flags, key = false}}  -- 8: a table that grows costs more
  if flags >= CONDITIONS then few = true end
  if flags >= FILED then
    job.key, job.key_of = condition(job, LIMIT_KEY) or '', rest  -- while that is its rest, that is its key
    job.was.key = job.key
  end
  return job
end

-- How long a record's meta is, and its own part: as far as is read so far.
local function lengths(record)
  local flags, high, low = string.byte(record, 2), string.byte(record, HEADER_LEN - 1, HEADER_LEN)
  local meta_len = HEADER_LEN + 256 * high + low
  if flags % (OWN_ID + OWN_ID) < OWN_ID then return meta_len, 4 end
  high, low = string.byte(record, meta_len + 1, meta_len + 2)
  return meta_len, low and 2 + 256 * high + low or 602  -- the longest id
end

-- Meta and own of the record of an arrival, nil where there is none. 160 bytes hold them mostly; else they are read
-- again, whole.
local function read(arrival)
  local at = key('j' .. arrival)
  local head = redis.call('GETRANGE', at, '0', '159')
  if #head < HEADER_LEN then return nil end
  local meta_len, own_len = lengths(head)
  if meta_len + own_len > #head then
    head = redis.call('GETRANGE', at, '0', meta_len + 601)
    meta_len, own_len = lengths(head)
  end
  return string.sub(head, 1, meta_len), string.sub(head, meta_len + 1, meta_len + own_len)
end

local function job_of(n, arrival, meta, own)
  local job = parse(meta)
  job.n, job.arrival, job.own = n, arrival, own
  return job
end

-- The job without its payload, or nil.
local function load(n)
  local arrival = arrival6(n)
  local meta, own = read(arrival)
  return meta and job_of(n, arrival, meta, own)
end

-- Meta, own, and all that follows the meta; nil where there is no record.
local function read_full(arrival)
  local record = redis.call('GET', key('j' .. arrival))
  if not record then return nil end
  local meta_len, own_len = lengths(record)
  local body = string.sub(record, meta_len + 1)
  return string.sub(record, 1, meta_len), string.sub(body, 1, own_len), body
end

-- The job with its payload, or nil.
local function load_full(n)
  local arrival = arrival6(n)
  local meta, own, body = read_full(arrival)
  if not meta then return nil end
  local job = job_of(n, arrival, meta, own)
  job.payload = string.sub(body, #own + 1)
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

-- Keeps what its conditions were, before they are others.
local function remember_conditions(job)
  job.old = job.old or {flags = job.flags, rest = job.rest, tags_at = job.tags_at}
end

-- Gives the job another rest, and this payload behind it. Of several in one call the first knows under which tags it is
-- listed.
local function rewrite(job, rest, payload)
  job.old_tags = job.old_tags or tags(job)
  job.rest, job.meta = rest, nil
  local type, at = struct.unpack('>Bc0', rest)
  job.type, job.tags_at = type, behind_conditions(rest, at, job.flags)
  job.payload_new, job.new_tags = payload, tags(job)
end

-- The job as it stands now, as an answer: arrival, meta, own and, where it was read, payload; with extras {that, extras}.
local function answer(job)
  local record = job.arrival .. meta_of(job) .. job.own .. (job.payload or '')
  local beside = extras(job)
  return beside and {record, beside} or record
end
