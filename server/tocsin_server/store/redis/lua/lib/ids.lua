-- ids: from a job_id to its arrival number, and new ids.
-- A server-made id is a UUIDv8: 48 bits of create time, 26 random bits, 48 bits of arrival number. It is found without
-- an index: the arrival is read from it, and the record there must bear just this id. One that was made elsewhere, and has another arrival here, is in the index as a caller's is.

-- The arrival number in an id of that form, nil where it has another.
local function number_in(id)
  local digits = #id == 36 and string.match(id, '^%x%x%x%x%x%x%x%x%-%x%x%x%x%-8%x%x%x%-[89ab]%x%x%x%-(%x+)$')
  return digits and tonumber(digits, 16) or nil
end

local function find(id)
  local at = redis.call('HGET', key('d'), id)
  if at then return struct.unpack('>I6', at) end
  local n = number_in(id)
  if not n then return nil end
  local head = redis.call('GETRANGE', key('j' .. arrival6(n)), HEADER_LEN, HEADER_LEN + 37)
  if #head == 38 and struct.unpack('>I2c0', head) == id then return n end
  return nil
end

-- The job as it stands, with what this call has changed already.
local function find_job(id)
  local n = find(id)
  local job = n and (touched[n] or load(n))
  return job and not job.gone and job or nil
end

-- seed: 26 random bits of the caller's.
local function new_id(n, seed)
  return string.format('%08x-%04x-8%03x-%04x-%04x%08x', math.floor(NOW / 65536), NOW % 65536,
    math.floor(seed / 16384), 32768 + seed % 16384, math.floor(n / 4294967296), n % 4294967296)
end
