#!lua
-- put: place jobs of one queue just as they stood elsewhere, in order.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new | 2 "1" to place them over what stands | 3 highest arrival of the whole batch, so
--          that a job which needs one takes none that another brings | then for each job: I6 the arrival that it had,
--          0 for none | meta (lib/job), I2 id | payload | extras, {field, I4 length, value}, of which D are its parents (lib/following)
-- Returns  {1 if the queue is new, else 0, answers}, one a job: "CREATED" | "KEPT" | "SAME" | "REPLACED" | "JOB_ACTIVE" |
--          "TYPES" | "JOBS", of which there are too many
-- Events   one a job that was created or replaced; where the new one has another arrival, "deleted" of the old one first
-- Wakes    "settings" where the queue is new
-- Clock    none: all times come with the jobs, and nothing is decided by them
-- Bounds   the caller sends at most 50 jobs and 1 MiB
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/types
local over, answers, placed, unwritten = ARGV[2] == '1', {}, false, {}
local top = math.max(tonumber(redis.call('HGET', key('q'), 'n') or 0), tonumber(ARGV[3]))

-- The arrival of the job that bears this id. What this call has placed is written first: only then can it be found.
local function standing(id)
  if unwritten[id] then
    commit()
    unwritten = {}
  end
  return find(id)
end

-- Whether no job of the queue has this arrival.
local function free(n)
  if touched[n] then
    if not touched[n].gone then return false end
    commit()  -- its record must go before another one takes its place
  end
  return redis.call('EXISTS', key('j' .. arrival6(n))) == 0
end

local function read(i)
  local given, packed, at = ARGV[i + 1], ARGV[i + 3], 1
  local meta_len = lengths(given)
  local job = parse(string.sub(given, 1, meta_len))
  job.own = string.sub(given, meta_len + 1)
  job.id = string.sub(job.own, 3)
  while at <= #packed do
    local field, value
    field, value, at = struct.unpack('>c1I4c0', packed, at)
    if field == 'D' then
      job.parents = value
    else
      job.extras = job.extras or {}
      job.extras[field] = value
    end
  end
  job.errand = NOW  -- where it waits for parents: at once it asks them, who may stand elsewhere now
  job.was, job.payload_new, job.new_tags = false, ARGV[i + 2], tags(job)
  return job
end

-- What stands before a spec's tags, but for what the store itself says there.
local function before_tags(job)
  local kept, at, number, value = {string.sub(job.rest, 1, 1 + #job.type)}, #job.type + 4, nil, nil
  while at < job.tags_at do
    number, value, at = struct.unpack('>BI2c0', job.rest, at)
    if number ~= WATCHED then kept[#kept + 1] = struct.pack('>BI2', number, #value) .. value end
  end
  return table.concat(kept)
end

-- A spec's tags, sorted (no store keeps their order), and what follows them.
local function spec_of(job)
  local borne, at = tags(job), job.tags_at + 1
  for _, name in ipairs(borne) do at = at + #name end  -- "#name=value" is as long as its two lengths and texts
  table.sort(borne)
  return before_tags(job) .. '\0' .. table.concat(borne, '\0') .. '\0' .. string.sub(job.rest, at)
end

local COMPARED = {'state', 'priority', 'attempt', 'failures', 'crashes', 'revision', 'create', 'due', 'start'}

-- Whether the job that stands is the one given; its arrival and last token aside. Of a payload that is longer than the
-- one given no more is read than it takes to see that.
local function same(job, given)
  for _, field in ipairs(COMPARED) do
    if job[field] ~= given[field] then return false end
  end
  if ended(job.state) and job.ends ~= given.ends then return false end  -- else a place that it keeps
  if has(job, FIRED) ~= has(given, FIRED) or job.held ~= given.held or spec_of(job) ~= spec_of(given) then return false end
  local at, payload = HEADER_LEN + #job.rest + #job.own, given.payload_new
  if redis.call('GETRANGE', key('j' .. job.arrival), at, at + #payload) ~= payload then return false end
  local found, left = extras(job) or {}, 0
  for _ in pairs(given.extras or {}) do left = left + 1 end
  for i = 1, #found, 2 do
    if not given.extras or given.extras[found[i]] ~= found[i + 1] then return false end
    left = left - 1
  end
  return left == 0
end

-- What a job of this arrival keeps of its id. One that was made under this very number, at its create time, is found
-- without an index.
local function bear_id(job, n, in_index)
  local number, create, own = read_id(job.id)
  job.meta = nil
  if number == n and create == job.create and not in_index then
    job.own = own
  else
    set_flag(job, OWN_ID)
    ids_new[job.id] = arrival6(n)
  end
end

local function write(job, n)
  job.n, job.arrival, top = n, arrival6(n), math.max(top, n)
  placed, unwritten[job.id] = true, true
  if job.parents then write_parents(job.arrival, job.parents) end
  touch(job)
end

local function place(given, wanted)
  local n = standing(given.id)
  if n and not over then return 'KEPT' end
  local job = n and load(n)
  if job and job.state == ACTIVE then return 'JOB_ACTIVE' end
  if wanted == 0 or (wanted ~= n and not free(wanted)) then wanted = false end
  if job and (not wanted or wanted == n) and same(job, given) then return 'SAME' end
  if not type_fits(given.type) then return 'TYPES' end
  if not job and not job_fits() then return 'JOBS' end
  if job and wanted == n then
    given.was, given.old_tags = job.was, tags(job)
    given.extras_gone, given.log_gone = has(job, HAS_EXTRAS), has(job, HAS_LOG)
    remember_conditions(job)
    given.old = job.old
    bear_id(given, n, has(job, OWN_ID))
    if condition(job, DEPENDS) then redis.call('UNLINK', key('D' .. job.arrival)) end
    write(given, n)
    if condition(job, WATCHED) then set_condition(given, WATCHED, '') end  -- who waits for it waits on
    return 'REPLACED'
  end
  if job then remove(job) end
  wanted = wanted or top + 1
  bear_id(given, wanted, false)
  write(given, wanted)
  return job and 'REPLACED' or 'CREATED'
end

local new = redis.call('HSETNX', key('q'), 'epoch', ARGV[1])
if new == 1 then publish(8, 0) end
for i = 4, #ARGV, 4 do
  answers[#answers + 1] = place(read(i), struct.unpack('>I6', ARGV[i]))
end
if placed then redis.call('HSET', key('q'), 'n', string.format('%d', top)) end
commit()
return {new, answers}
