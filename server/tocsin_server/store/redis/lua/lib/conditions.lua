-- conditions: what a job's start depends on beside its time. In the rest of a record behind the type: I2 length, then
-- fields of B number, I2 length, value (store/condition_records.py).
local LIMIT_KEY, WEIGHT, COLLAPSE, EXPIRE, DEPENDS, WATCHED, ON_END = 1, 2, 3, 4, 5, 6, 7

-- The value of a field; nil where the job has none.
local function condition(job, wanted)
  if math.floor(job.flags / CONDITIONS) % 2 == 0 then return nil end
  local rest, at, number, value = job.rest, string.byte(job.rest) + 4, nil, nil
  while at < job.tags_at do
    number, value, at = struct.unpack('>BI2c0', rest, at)
    if number == wanted then return value end
  end
  return nil
end
