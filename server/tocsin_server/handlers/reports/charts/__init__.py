"""Charts as inline SVG: drawn twice, wide for desktop and paper, narrow for a phone; the page's style shows one."""
