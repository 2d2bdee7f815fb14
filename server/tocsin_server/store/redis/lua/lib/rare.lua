-- rare: what few queues have, limits, turns, keys, expiry, is left out of the scripts that run most, and with it a good part
-- of what they cost (script_text.py). Functions for that are marked `--- @rare`; who is about to call one says rare() before, while
-- nothing is written yet. There the short script ends, and its caller sends the whole one, in which this does nothing.
local function rare()
end
