-- lease: what a token says: arrival number, arrival, and the request's 8 bytes; nil where it is none.
local function read_token(token)
  local request = string.sub(token, 7)
  if #token ~= 14 or request == NO_TOKEN then return nil end
  local arrival = string.sub(token, 1, 6)
  return struct.unpack('>I6', arrival), arrival, request
end

-- The job whose last attempt a token is of, whatever its state; nil where it is of none.
local function of_token(token)
  local n, _, request = read_token(token)
  local job = n and (touched[n] or load(n))
  return job and job.token == request and job or nil
end
