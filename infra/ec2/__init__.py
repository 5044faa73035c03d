"""Workers on EC2: a stack of machines that come when jobs wait and go when none do."""

from infra.ec2.verbs import register as register
