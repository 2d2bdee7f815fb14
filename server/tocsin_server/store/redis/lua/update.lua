#!lua
-- update: change standing jobs; make them due now; retry ended ones; hold them, and let them go.
-- KEYS[1]  root of the queue
-- ARGV     for each: "UPDATE" | "RUN" | "RETRY" | "HOLD" | "RELEASE" | id | fixed >BBI6Bi4Bd: has a time, is a delay, ms, has a priority,
--          priority, has a revision, revision | payload or "" (UPDATE; the payload's first byte is its kind) | terms or "":
--          B flags (OWN_RETENTION, or 0), what follows the type in the rest (lib/job)
-- Returns  one a change: {"OK", answer} | {"JOB_NOT_FOUND"} | {"WRONG_STATE", state} | {"REVISION_MISMATCH", revision} |
--          {"TOO_LARGE", bytes}
-- Events   one a job that changed
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local verbs = {}

function verbs.UPDATE(job, fixed, payload, terms)
  local timed, is_delay, ms, prioritized, priority, checked, revision = struct.unpack('>BBI6Bi4Bd', fixed)
  if job.state > WAITING then return {'WRONG_STATE', job.state} end
  if checked == 1 and revision ~= job.revision then return {'REVISION_MISMATCH', job.revision} end
  local rest = job.rest
  if terms ~= '' then
    rest = string.sub(job.rest, 1, job.tags_at - 1) .. string.sub(terms, 2)
    if payload == '' then payload = payload_of(job) end
  end
  -- What the spec takes without id and retention; add's caller has checked it for a new job.
  local own_retention = terms == '' and has(job, OWN_RETENTION) or terms ~= '' and string.byte(terms) == OWN_RETENTION
  local size = #payload - 1 + #rest - (own_retention and 12 or 0)
  if string.byte(payload) == SEALED_KIND then size = size - SEALED_MORE - 1 end
  if payload ~= '' and size > JOB_SPEC_BYTES then return {'TOO_LARGE', size} end
  if prioritized == 1 then job.priority = priority end
  if terms ~= '' then
    clear_flag(job, OWN_RETENTION)
    job.flags = job.flags + string.byte(terms)
    rewrite(job, rest, payload)
  elseif payload ~= '' then
    job.payload_new = payload
  end
  if timed == 1 and job.state ~= BLOCKED then
    make_due(job, math.max(NOW, is_delay == 1 and NOW + ms or ms))
  else
    if timed == 1 then job.due = math.max(NOW, is_delay == 1 and NOW + ms or ms) end
    changed(job)
  end
end

function verbs.HOLD(job)
  if job.state > WAITING then return {'WRONG_STATE', job.state} end
  if job.held then return end
  job.held = true
  changed(job)
end

-- A job whose time came meanwhile is due now, in its place among the others.
function verbs.RELEASE(job)
  if ended(job.state) then return {'WRONG_STATE', job.state} end
  if not job.held then return end
  job.held = false
  if job.state ~= BLOCKED then job.state = job.due > NOW and SCHEDULED or WAITING end
  if job.state == WAITING then wake = 1 end
  changed(job)
end

function verbs.RUN(job)
  if job.state == SCHEDULED then
    make_due(job, NOW)
  elseif job.state ~= WAITING and job.state ~= ACTIVE then
    return {'WRONG_STATE', job.state}
  end
end

function verbs.RETRY(job)
  if job.state == WAITING or job.state == ACTIVE then return end
  if job.state ~= FAILED and job.state ~= CANCELLED then return {'WRONG_STATE', job.state} end
  job.failures, job.crashes, job.ends = 0, 0, 0
  clear_flag(job, CANCEL_ASKED)
  if has(job, HAS_EXTRAS) then redis.call('HDEL', key('h' .. job.arrival), 'c', 'r', 'p') end
  -- Who retries a job that has expired wants it to run.
  if job.attempt == 0 and condition(job, EXPIRE) then set_condition(job, EXPIRE, nil) end
  make_due(job, NOW)
end

local answers = {}
for i = 1, #ARGV, 5 do
  local job = find_job(ARGV[i + 1])
  if not job then
    answers[#answers + 1] = {'JOB_NOT_FOUND'}
  else
    local refused = verbs[ARGV[i]](job, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
    answers[#answers + 1] = refused or {'OK', answer(job)}
  end
end
commit()
return answers
