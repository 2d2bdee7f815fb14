#!lua flags=allow-oom
-- cancel: cancel jobs, or ask running ones to stop.
-- KEYS[1]  root of the queue
-- ARGV     for each: id | I6 grace_ms, I2 reason, by
-- Returns  one a job: {"OK", answer} | {"JOB_NOT_FOUND"} | {"WRONG_STATE", state}
-- Events   one a job that changed
-- Wakes    "cancels" where a running job was asked
--- @include lib/keys lib/clock lib/job lib/ids lib/rows lib/events lib/tick lib/commit lib/transitions
local answers, asked = {}, false

local function cancel(job, wish)
  if job.state == CANCELLED then return end
  if job.state == ACTIVE and has(job, CANCEL_ASKED) then return end
  local grace = struct.unpack('>I6', wish)
  put_extra(job, 'c', struct.pack('>I6I6I6', NOW, 0, 0) .. wish)
  if job.state ~= ACTIVE then
    cancelled(job)
    return
  end
  set_flag(job, CANCEL_ASKED)
  job.ends = math.min(job.ends, NOW + grace)
  asked = true
  changed(job)
end

for i = 1, #ARGV, 2 do
  local job = find_job(ARGV[i])
  if not job then
    answers[#answers + 1] = {'JOB_NOT_FOUND'}
  elseif job.state == COMPLETED or job.state == FAILED then
    answers[#answers + 1] = {'WRONG_STATE', job.state}
  else
    cancel(job, ARGV[i + 1])
    answers[#answers + 1] = {'OK', answer(job)}
  end
end
commit()
if asked then publish(4, 0) end
return answers
