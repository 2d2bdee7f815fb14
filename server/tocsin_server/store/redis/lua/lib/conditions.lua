-- conditions: what a job's start depends on beside its time. In the rest of a record behind the type: I2 length, then
-- fields of B number, I2 length, value (store/condition_records.py).
local LIMIT_KEY, WEIGHT, COLLAPSE, EXPIRE, DEPENDS, WATCHED, ON_END = 1, 2, 3, 4, 5, 6, 7

-- The value of a field; nil where the job has none.
local function condition(job, wanted)
  if job.flags % (CONDITIONS + CONDITIONS) < CONDITIONS then return nil end
  local rest, ends = job.rest, job.tags_at
  local at = string.byte(rest) + 4
  while at < ends do
    local number, high, low = string.byte(rest, at, at + 2)
    local last = at + 2 + 256 * high + low
    if number == wanted then return string.sub(rest, at + 3, last) end
    at = last + 1
  end
  return nil
end

-- Whether all that its start depends on is its limit_key, which is so of many, and spares them to be asked for the rest.
--- @rare
local function only_key(job)
  local rest = job.rest
  if job.only_key_of ~= rest then
    local at = string.byte(rest) + 4
    local number, high, low = string.byte(rest, at, at + 2)
    job.only_key_of = rest
    job.only_key = job.flags % (CONDITIONS + CONDITIONS) >= CONDITIONS and number == LIMIT_KEY and at + 3 + 256 * high + low == job.tags_at
  end
  return job.only_key
end
