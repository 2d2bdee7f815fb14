#!lua flags=allow-oom
-- extend: let leases go on, and record progress.
-- KEYS[1]  root of the queue
-- ARGV     1 lease_ms | then for each: token, arrival and request | progress, "d" fraction and message, or ""
-- Returns  one a lease: {"OK"} | {"CANCEL", grace_ms, reason} | {"LEASE_LOST"}
-- Events   one a job with progress
-- Bounds   a lease whose cancel was asked ends with the grace
--- @include lib/keys lib/clock lib/job lib/lease lib/rows lib/events lib/tick lib/commit lib/transitions
local answers = {}

local function extend(job, progress)
  local said = {'OK'}
  job.ends, job.meta = NOW + tonumber(ARGV[1]), nil
  job.quiet = job.quiet or not touched[job.n]
  if has(job, CANCEL_ASKED) then
    local cancel = get_extra(job, 'c')
    local ask, deliver, _, grace, reason = struct.unpack('>I6I6I6I6I2c0', cancel)
    job.ends = math.min(job.ends, ask + grace)
    if deliver == 0 then
      put_extra(job, 'c', string.sub(cancel, 1, 6) .. struct.pack('>I6', NOW) .. string.sub(cancel, 13))
      job.quiet = false
    end
    said = {'CANCEL', math.max(0, ask + grace - NOW), reason}
  end
  if progress ~= '' then
    put_extra(job, 'p', struct.pack('>I6', NOW) .. progress)
    job.quiet = false
  end
  if job.quiet then touch(job) else changed(job) end
  return said
end

for i = 2, #ARGV, 2 do
  local job = of_token(ARGV[i])
  if job and job.state == ACTIVE then
    answers[#answers + 1] = extend(job, ARGV[i + 1])
  else
    answers[#answers + 1] = {'LEASE_LOST'}
  end
end
commit()
return answers
