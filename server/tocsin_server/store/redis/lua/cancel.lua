#!lua flags=allow-oom
-- cancel: cancel jobs, or ask running ones to stop.
-- KEYS[1]  root of the queue
-- ARGV     for each: id | I6 grace_ms, I2 reason, by
-- Returns  one a job: {"OK", answer} | {"JOB_NOT_FOUND"} | {"WRONG_STATE", state}
-- Events   one a job that changed
-- Wakes    "cancels" where a running job was asked
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local answers, asked = {}, false
local cancelled_now = {}  -- by the meta that it had, and the wish: a job that waited, and its extras

local function cancel(job, wish)
  if job.state == CANCELLED then return end
  if job.state == ACTIVE and has(job, CANCEL_ASKED) then return end
  if job.state == ACTIVE then
    ask_to_stop(job, wish)
    asked = true
    return
  end
  put_extra(job, 'c', struct.pack('>I6I6I6', NOW, 0, 0) .. wish)
  cancelled(job)
end

-- Jobs that stand alike and are cancelled alike are one to commit, and their answers differ in what is their own.
local function cancel_alike(job, wish)
  local as = job.meta .. wish
  local first = cancelled_now[as]
  if first then
    join(first.job, job.n, job.arrival, job.own)
    return {job.arrival .. meta_of(first.job) .. job.own, first.extras}
  end
  local bare = not has(job, HAS_EXTRAS)
  cancel(job, wish)
  if bare and job.state == CANCELLED then cancelled_now[as] = {job = job, extras = extras(job)} end
  return answer(job)
end

local function said_of(id, place, wish)
  local job = find_job(id, place)
  if not job then return {'JOB_NOT_FOUND'} end
  if job.state == COMPLETED or job.state == FAILED then return {'WRONG_STATE', job.state} end
  return {'OK', cancel_alike(job, wish)}
end

local ids, said = {}, {}  -- said: by id, for a second cancel of a job changes nothing
for i = 1, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local places = places_of(ids)
for i, id in ipairs(ids) do
  said[id] = said[id] or said_of(id, places[i], ARGV[2 * i])
  answers[i] = said[id]
end
commit()
if asked then publish(4, 0) end
return answers
