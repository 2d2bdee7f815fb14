#!lua flags=allow-oom
-- finish: record how attempts ended, fenced by their tokens.
-- KEYS[1]  root of the queue
-- ARGV     for each: token, arrival and request | "COMPLETED" | "FAILED" | "RELEASED" | "CRASHED" |
--          "+" and the result, error body, or "" | retry_ms (FAILED), -1 for none; behind it, where a limit is to be paused,
--          " ", ms, " ", its name
-- Returns  two bytes an outcome: "O" recorded, "R" recorded before, "L" lease lost; the job's state
-- Events   one a job
-- A token that ended the last attempt answers "R" and the state of now: a lost answer can be asked for again.
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/lease lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/pausing
local endings, rates = {}, {}

function endings.COMPLETED(job, result)
  job.crashes = 0
  count_ending(rates, 'c')
  if result ~= '' then set_flag(job, HAS_EXTRAS) end
  end_as(job, COMPLETED)
  if result ~= '' then order[#order] = string.sub(result, 2) end
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
    job.state, job.ends = WAITING, 0
    changed(job)
  end
end

function endings.CRASHED(job, body)
  count_ending(rates, 'f')
  crashed(job, body, MAX_CRASHES)
end

-- Jobs that completed, by the meta that they had; those with a result have a flag more.
local completed, with_result = {}, {}

local function complete_alike(token, meta, n, arrival, own, result)
  local job = (result == '' and completed or with_result)[meta]
  if not job or job.token ~= token then return nil end
  join(job, n, arrival, own, false, result ~= '' and string.sub(result, 2))
  count_ending(rates, 'c')
  return job
end

local function finish(n, arrival, token, ending, said, retry_ms)
  local job, meta, own = touched[n], nil, nil
  if not job then
    meta, own = read(arrival)
    if not meta then return 'L', 0 end
    if ending == 'COMPLETED' then
      job = complete_alike(token, meta, n, arrival, own, said)
      if job then return 'O', job.state end
    end
    job = job_of(n, arrival, meta, own)
  end
  if job.token ~= token then return 'L', 0 end
  if job.state ~= ACTIVE then return 'R', job.state end
  local wait = tonumber(retry_ms)
  if not wait then
    local span, limit
    wait, span, limit = string.match(retry_ms, '^(%S+) (%d+) (.*)$')
    rare()
    pause_limit(job, limit, NOW + span)
  end
  endings[ending](job, said, tonumber(wait))
  if ending == 'COMPLETED' then (said == '' and completed or with_result)[meta] = job end
  return 'O', job.state
end

local answers = {}
for i = 1, #ARGV, 4 do
  local word, state = 'L', 0
  local n, arrival, token = read_token(ARGV[i])
  if n then word, state = finish(n, arrival, token, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
  answers[#answers + 1] = word .. string.char(state)
end
commit()
flush_rates(rates)
return table.concat(answers)
