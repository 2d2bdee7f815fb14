#!lua
-- add: store new jobs of one queue, in order.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new | 2 "1": whoever adds them claims next, so nobody need be rung | then for each job:
--          head >BBI6Bi4: on_conflict, is a delay, ms, flags, priority; then the rest; "" where it is the last job's |
--          own and payload (lib/job; of an id that the store is to make, its random bits)
-- Returns  {1 if the queue is new, else 0, now_ms, new, others}. new: runs >I2BI6I6 of how many jobs, their state and due,
--          and the arrival of the first, from which the others' follow; with state 0 of one job that is not new, of which
--          `others` says in order {"REPLACED" | "KEPT", answer} | {"JOB_EXISTS" | "JOB_ACTIVE", state} |
--          {"QUOTA", "types" | "jobs"} | {"DRAINING", 0}
-- Events   one a job that was created or replaced
-- Wakes    "settings" where the queue is new
-- Clock    the server's; a delay counts from it, a time that has passed means now
-- Bounds   the caller sends at most 50 jobs and 1 MiB
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/types lib/full lib/drafts lib/collapse
local FAIL, KEEP, REPLACE = 1, 2, 3
local known, others, head = {}, {}, false
local replaced = false  -- a job that may have had a key, or has one now
announce = ARGV[2] ~= '1'

local found = redis.call('HMGET', key('q'), 'epoch', 'n', 'drain')
last = tonumber(found[2] or 0)
local last_before = last
if not found[1] then
  redis.call('HSET', key('q'), 'epoch', ARGV[1])
  publish(8, 0)
end

-- All at once, as one question; what a commit of this call changes is asked for again.
local function ask_for_ids()
  local ids, own_ids = {}, false
  for i = 3, #ARGV, 2 do
    if ARGV[i] ~= '' then
      own_ids = string.byte(ARGV[i]) ~= UNIQUE and math.floor(string.byte(ARGV[i], 9) / OWN_ID) % 2 == 1
    end
    if own_ids then ids[#ids + 1] = struct.unpack('>I2c0', ARGV[i + 1]) end
  end
  if #ids == 0 then return end
  local at = redis.call('HMGET', key('d'), unpack(ids))
  for i, id in ipairs(ids) do known[id] = at[i] end
end

-- Writes what there is so far: only then can it be changed.
local function write(asked)
  commit()
  asked.job, asked.ended, known, sizes, keyed, replaced = false, nil, {}, {}, {}, false
end

-- As lib/collapse says; what this call has made of jobs of the key, or of any that had it, is written first.
--- @rare
local function collapse_with(asked)
  local row = key_row(asked, asked.type)
  if keyed[row] or replaced then write(asked) end
  keyed[row] = true
  return collapse(asked)
end

local function add(asked, id, body)
  if id and ids_new[id] then write(asked) end
  local standing = id and asked.on_conflict ~= UNIQUE and find_job(id, known[id])
  if standing and asked.on_conflict == KEEP then return 'KEPT', standing end
  if standing and asked.on_conflict == FAIL then return 'JOB_EXISTS', standing.state end
  if standing and standing.state == ACTIVE then return 'JOB_ACTIVE', standing.state end
  if asked.collapse and not standing then
    rare()
    local done, other = collapse_with(asked)
    replaced = replaced or done == 'REPLACED'
    if done == 'REPLACED' then return done, replace(other, asked, string.sub(body, id and 3 + #id or 5)) end
    if done then return done, other end
  end
  if found[3] and not (standing and not ended(standing.state)) then return 'DRAINING', 0 end
  if not type_fits(asked.type) then return 'QUOTA', 'types' end
  if not standing and not job_fits() then return 'QUOTA', 'jobs' end
  if not standing and replaced and strict_limits() then write(asked) end  -- what limits count is what is written
  if not standing then return 'CREATED', create(asked, id, body) end  -- and as what it was asked for
  if ended(standing.state) then
    remove_early(standing)
    write(asked)
    replaced = true
    -- Who has seen the old one must not take the new one for it.
    return 'REPLACED', (create(asked, id, body, standing))
  end
  replaced = true
  rare()
  return 'REPLACED', replace(standing, asked, string.sub(body, 3 + #id))
end

ask_for_ids()
local runs_new, run_jobs_new, run_first, run_asked, asked = {}, 0, 0, false, false
local function end_new_run()
  if run_asked then
    runs_new[#runs_new + 1] = struct.pack('>I2BI6I6', run_jobs_new, run_asked.state, run_asked.due, run_first)
    run_asked = false
  end
end

for i = 3, #ARGV, 2 do
  if ARGV[i] ~= '' then head = ARGV[i] end
  if ARGV[i] ~= '' or asked.collapse then asked = read_head(head) end  -- when it is due is decided for each
  local body = ARGV[i + 1]
  local done, said, as = add(asked, math.floor(asked.flags / OWN_ID) % 2 == 1 and struct.unpack('>I2c0', body), body)
  if done == 'CREATED' then
    if run_asked ~= as then
      end_new_run()
      run_asked, run_first, run_jobs_new = as, last, 0
    end
    run_jobs_new = run_jobs_new + 1
  else
    end_new_run()
    runs_new[#runs_new + 1] = struct.pack('>I2BI6I6', 1, 0, 0, 0)
    others[#others + 1] = {done, type(said) == 'table' and answer(said) or said}
  end
end
end_new_run()
if last > last_before then
  if few or read_mode() > 0 then rare() end  -- as the commit will say: no number is taken before
  redis.call('HSET', key('q'), 'n', string.format('%d', last))
end
commit()
return {found[1] and 0 or 1, NOW, table.concat(runs_new), others}
