-- lease: the job whose last attempt a token (arrival, request) is of, whatever its state; nil where it is of none.
local function of_token(token)
  if #token ~= 14 or string.sub(token, 7) == NO_TOKEN then return nil end
  local n = struct.unpack('>I6', token)
  local job = touched[n] or load(n)
  return job and job.token == string.sub(token, 7) and job or nil
end
