. /tmp/causal_runs/env.sh
nice -n 15 /work/main/.venv/bin/chiasm flow tiny --limit 150 --windows suffix --cut "image->between+question+suffix+last" --cut "question->last" --cut ablate:mean@image --cut ablate:resample@image --keep-only "image->question" --keep-only "question->last" --sufficient 150 --out /tmp/causal_runs/tiny_flow --resume > /tmp/causal_runs/tiny_flow.log 2>&1
nice -n 15 /work/main/.venv/bin/chiasm patch tiny --limit 240 --out /tmp/causal_runs/tiny_patch --resume > /tmp/causal_runs/tiny_patch.log 2>&1
