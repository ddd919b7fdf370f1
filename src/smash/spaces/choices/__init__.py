"""A search space of one function that builds the network and chooses where it may vary.

    def network(choose, task):
        width, depth = choose("width", (8, 16, 24)), choose("depth", (2, 3))
        blocks = [Block(width, choose(f"kernel {i}", (3, 5))) for i in range(depth)]
        return nn.Sequential(Stem(task.channels, width), *blocks, Head(width, task.classes))

    space = smash.space(network)

An architecture is the choices that one call of the function reached. Drawing one is a call that
answers each question at random, building its child is a call that answers as before. Once per task
a walk takes each option of each choice, with all other numbers at their largest: it finds the
choices that exist, whose meaning is fixed from then on, and the largest shape of each parameter,
of which children share their parts.
"""

from smash.spaces.choices.choose import Choices, Choose, NetworkFunction
from smash.spaces.choices.function_space import CHOSEN_MODULES, FunctionSpace, space

__all__ = ["CHOSEN_MODULES", "Choices", "Choose", "FunctionSpace", "NetworkFunction", "space"]
