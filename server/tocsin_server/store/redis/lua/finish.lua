#!lua flags=allow-oom
-- finish: record how attempts ended, fenced by their tokens.
-- KEYS[1]  root of the queue
-- ARGV     for each: token, arrival and request | "COMPLETED" | "FAILED" | "RELEASED" | "CRASHED" |
--          "+" and the result, error body, or "" | retry_ms (FAILED), -1 for none
-- Returns  one an outcome: {"OK" | "REPEATED", state} | {"LEASE_LOST"}
-- Events   one a job
-- A token that ended the last attempt answers REPEATED and the state of now: a lost answer can be asked for again.
--- @include lib/keys lib/clock lib/job lib/lease lib/tick lib/commit lib/change
local endings, rates = {}, {}

function endings.COMPLETED(job, result)
  if result ~= '' then put_extra(job, 'r', string.sub(result, 2)) end
  job.crashes = 0
  count_ending(rates, 'c')
  end_as(job, COMPLETED)
end

function endings.FAILED(job, body, retry_ms)
  job.failures, job.crashes = math.min(job.failures + 1, 65535), 0
  count_ending(rates, 'f')
  add_error(job, body)
  if has(job, CANCEL_ASKED) then
    cancelled(job)
  elseif retry_ms >= 0 then
    make_due(job, NOW + retry_ms)
  else
    end_as(job, FAILED)
  end
end

function endings.RELEASED(job)
  job.crashes = 0
  if has(job, CANCEL_ASKED) then
    cancelled(job)
  else
    job.state, job.lease = WAITING, 0
    changed(job)
  end
end

function endings.CRASHED(job, body)
  count_ending(rates, 'f')
  crashed(job, body, MAX_CRASHES)
end

local answers = {}
for i = 1, #ARGV, 4 do
  local job = of_token(ARGV[i])
  if not job then
    answers[#answers + 1] = {'LEASE_LOST'}
  elseif job.state ~= ACTIVE then
    answers[#answers + 1] = {'REPEATED', job.state}
  else
    endings[ARGV[i + 1]](job, ARGV[i + 2], tonumber(ARGV[i + 3]))
    answers[#answers + 1] = {'OK', job.state}
  end
end
commit()
flush_rates(rates)
return answers
