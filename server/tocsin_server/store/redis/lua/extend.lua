#!lua flags=allow-oom
-- extend: let leases go on, and record progress and lines of log.
-- KEYS[1]  root of the queue
-- ARGV     1 lease_ms | then for each: token, arrival and request | progress, "d" fraction and message, or "" | lines, of
--          each {B level, I2 text}, or ""
-- Returns  one a lease: {"OK", its end} | {"CANCEL", its end, grace_ms, reason} | {"LEASE_LOST"}
-- Events   one a job with progress
-- Bounds   a lease whose cancel was asked ends with the grace
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/lease lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/logs
local answers = {}

local function extend(job, progress, lines)
  job.ends, job.meta = NOW + tonumber(ARGV[1]), nil
  job.quiet = job.quiet or not touched[job.n]
  local said
  if has(job, CANCEL_ASKED) then
    local cancel = get_extra(job, 'c')
    local ask, deliver, _, grace, reason = struct.unpack('>I6I6I6I6I2c0', cancel)
    job.ends = math.min(job.ends, ask + grace)
    if deliver == 0 then
      put_extra(job, 'c', string.sub(cancel, 1, 6) .. struct.pack('>I6', NOW) .. string.sub(cancel, 13))
      job.quiet = false
    end
    said = {'CANCEL', job.ends, math.max(0, ask + grace - NOW), reason}
  end
  if progress ~= '' then
    put_extra(job, 'p', struct.pack('>I6', NOW) .. progress)
    job.quiet = false
  end
  if lines ~= '' then add_lines(job, lines) end
  if job.quiet then touch(job) else changed(job) end
  return said or {'OK', job.ends}
end

for i = 2, #ARGV, 3 do
  local job = of_token(ARGV[i])
  if job and job.state == ACTIVE then
    answers[#answers + 1] = extend(job, ARGV[i + 1], ARGV[i + 2])
  else
    answers[#answers + 1] = {'LEASE_LOST'}
  end
end
commit()
flush_logs()
return answers
